"""The baseline: an advantage-weighted actor on the finished critic (Peng et al., 2019)."""

from typing import ClassVar, final

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.runs.configuration import BaselineConfig, StageName
from scoreregs_offline_rl.stages.critic import Critic
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.optimizers import adam, cosine_decay
from scoreregs_offline_rl.stages.stage import Metrics, Randoms, Stage

__all__ = ["BaselineStage"]


@final
class BaselineStage(Stage):
    """Cloning of the data's actions, weighted by what the critic thinks of them.

        L = E min(exp(scale A(s, a)), clip) |pi(s) - a|^2,     A = min(Q_1, Q_2) - V

    The policy and its optimiser are those of the policy stage.

    Args:
        policy: The policy that is trained.
        critic: The finished critic, on the policy's device; it is only read.
        config: Settings.
        steps: Length of the cosine decay.
    """

    name: ClassVar[StageName] = "baseline"

    def __init__(
        self, policy: DiracPolicy, critic: Critic, config: BaselineConfig, *, steps: int
    ) -> None:
        super().__init__()
        self.policy = policy
        self.config = config
        self.steps = steps
        # In a tuple the critic is no submodule: it is neither trained nor saved here.
        self._critic = (critic,)

    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        """The weighted square error; there is nothing random about it."""
        del randoms
        advantage = self._critic[0].advantage(batch.actions, batch.observations)
        weight = (self.config.advantage_scale * advantage).exp().clamp(max=self.config.clip)
        error = (self.policy(batch.observations) - batch.actions).square().sum(-1)
        loss = (weight * error).mean()
        metrics = {"loss": loss, "error": error.mean(), "advantage": advantage.mean()}
        return loss, {name: metric.detach() for name, metric in metrics.items()}

    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """Adam, with a cosine decay to zero over the run."""
        optimizer = adam(self.policy.parameters(), self.config.learning_rate)
        return optimizer, cosine_decay(optimizer, self.steps)
