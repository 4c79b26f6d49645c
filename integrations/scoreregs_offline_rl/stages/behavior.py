"""The behavior model: a diffusion model of the data's actions (Eq. 13)."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, final

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from scoreregs import NetworkPrior, VPSchedule
from scoreregs.kernel import denoising_loss
from scoreregs.times import UniformTimes
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.runs.configuration import BehaviorConfig, StageName
from scoreregs_offline_rl.stages.networks import BehaviorNetwork
from scoreregs_offline_rl.stages.optimizers import adamw, cosine_decay
from scoreregs_offline_rl.stages.stacking import by_member
from scoreregs_offline_rl.stages.stage import Metrics, Randoms, Stage

__all__ = ["BehaviorStage", "behavior_prior"]


def behavior_prior(network: Callable[..., Tensor]) -> NetworkPrior:
    """The behavior network as a prior: noise prediction under the default VP schedule."""
    return NetworkPrior(network, VPSchedule(), prediction="epsilon")


@final
class BehaviorStage(Stage):
    """Denoising score matching of the actions given the observations.

        L = E |eps_hat(alpha_t a + sigma_t eps | s, t) - eps|^2,       t ~ U(first_time, 1)

    summed over the action's dimensions, with dropout. Defaults: Appendix C.

    Args:
        observation_size: Number of observation dimensions.
        action_size: Number of action dimensions.
        config: Sizes and settings.
    """

    name: ClassVar[StageName] = "behavior"
    compilable: ClassVar[bool] = True

    def __init__(self, observation_size: int, action_size: int, config: BehaviorConfig) -> None:
        super().__init__()
        self.config = config
        self.network = BehaviorNetwork(
            observation_size, action_size, blocks=config.blocks, width=config.width
        )
        # In a tuple it is no submodule: its weights are the network's.
        self._trained: tuple[Callable[..., Tensor], ...] = ()
        self._action_size = action_size
        self._times = UniformTimes(config.first_time, 1.0)

    def draw(self, batch_size: int, generator: Generator) -> Randoms:
        """Times t (batch,), noise (batch, a) and dropout masks (batch, blocks, width)."""
        config, device = self.config, generator.device
        randoms = {
            "t": self._times.sample(1, batch_size, device, generator)[0],
            "noise": torch.randn(batch_size, self._action_size, generator=generator, device=device),
        }
        if config.dropout > 0:
            shape = (batch_size, config.blocks, config.width)
            kept = torch.rand(shape, generator=generator, device=device) >= config.dropout
            randoms["dropout_masks"] = kept / (1 - config.dropout)
        return randoms

    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        """The mean denoising loss of the batch."""
        network = partial(
            self._trained[0] if self._trained else self.network,
            dropout_masks=randoms.get("dropout_masks"),
        )
        members = batch.actions.shape[:-2]
        prior = behavior_prior(by_member(network, members))
        rows = (batch.actions, batch.observations, randoms["t"], randoms["noise"])
        errors = denoising_loss(prior, *(tensor.flatten(0, len(members)) for tensor in rows))
        loss = errors.unflatten(0, (*members, -1)).mean(-1)
        return loss, {"loss": loss.detach()}

    def compile_networks(self) -> None:
        """Compile the behavior network for training; called by itself it stays as it is."""
        self._trained = (torch.compile(self.network),)

    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """AdamW, at a constant learning rate unless the configuration says otherwise."""
        config = self.config
        optimizer = adamw(self.network.parameters(), config.learning_rate, config.weight_decay)
        return optimizer, cosine_decay(optimizer, config.steps) if config.decay else None
