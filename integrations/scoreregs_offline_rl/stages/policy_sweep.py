"""The extraction of several policies at once: seeds by temperatures."""

from functools import partial
from typing import ClassVar, final

import torch
from einops import rearrange, repeat
from torch import Generator, Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.runs.configuration import PolicyConfig, StageName
from scoreregs_offline_rl.stages.behavior import behavior_prior
from scoreregs_offline_rl.stages.critic import Critic
from scoreregs_offline_rl.stages.networks import BehaviorNetwork, DiracPolicy
from scoreregs_offline_rl.stages.optimizers import adam, cosine_decay
from scoreregs_offline_rl.stages.policy import draw_diffusion, policy_objective
from scoreregs_offline_rl.stages.stacking import by_member
from scoreregs_offline_rl.stages.stage import Metrics, Randoms, Stage

__all__ = ["PolicySweepStage"]


@final
class PolicySweepStage(Stage):
    """The policy stage of every seed at every temperature, seeds first.

    The policies of a seed see its rows, times and noise, and share its critic and behavior network,
    which evaluate the actions of all of them as one batch.

    Args:
        policies: Stacked, (seeds * temperatures, ...).
        critics: Stacked and finished, (seeds, ...), on the policies' device; they are only read.
        behaviors: Likewise.
        config: Settings.
        action_size: Number of action dimensions.
        betas: Temperatures, each above 0.
    """

    name: ClassVar[StageName] = "policy"
    betas: Tensor

    def __init__(
        self,
        policies: DiracPolicy,
        critics: Critic,
        behaviors: BehaviorNetwork,
        config: PolicyConfig,
        *,
        action_size: int,
        betas: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.policy = policies
        self.config = config
        seeds = len(next(policies.parameters())) // len(betas)
        value = by_member(critics.target_q.mean, [seeds])
        prior = behavior_prior(partial(_of_draws, behaviors, seeds, config.draws))
        self.objective = policy_objective(value, prior, config)
        exact = torch.tensor(betas, dtype=torch.float64)
        self.register_buffer("betas", exact, persistent=False)
        self._action_size = action_size

    def draw(self, batch_size: int, generator: Generator) -> Randoms:
        """Times t (batch, draws) and noise (batch, draws, a) of one seed."""
        return draw_diffusion(self.objective, batch_size, self._action_size, generator)

    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        """The objective's losses, (seeds * temperatures,), of batches (seeds, batch, ...)."""
        seeds, rows, _ = batch.observations.shape
        temperatures = len(self.betas)
        observations = repeat(batch.observations, "s b o -> (s k) b o", k=temperatures)
        action = self.policy(observations).to(observations.dtype)
        result = self.objective(
            action.flatten(0, 1),
            observations.flatten(0, 1),
            t=repeat(randoms["t"], "s b d -> d (s k b)", k=temperatures),
            noise=repeat(randoms["noise"], "s b d a -> d (s k b) a", k=temperatures),
            beta=repeat(self.betas, "k -> (s k b)", s=seeds, b=rows),
        )

        def mean(losses: Tensor) -> Tensor:
            return rearrange(losses, "(m b) -> m b", b=rows).mean(-1)

        metrics = {"q": mean(result.value), "gradient": mean(result.gradient.norm(dim=-1))}
        return mean(result.loss), metrics

    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """Adam, with a cosine decay to zero over the run."""
        optimizer = adam(self.policy.parameters(), self.config.learning_rate)
        return optimizer, cosine_decay(optimizer, self.config.steps)


def _of_draws(network: BehaviorNetwork, seeds: int, draws: int, *rows: Tensor) -> Tensor:
    """The networks on flat rows that are draws first, then seeds, as the objective lays them."""
    by_seed = (rearrange(r, "(d s n) ... -> s (d n) ...", d=draws, s=seeds) for r in rows)
    return rearrange(network(*by_seed), "s (d n) a -> (d s n) a", d=draws)
