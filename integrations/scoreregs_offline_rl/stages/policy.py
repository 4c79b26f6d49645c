"""The extraction of the policy (Eq. 15)."""

from typing import ClassVar, final

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from scoreregs import ScorePrior, ScoreRegularizedObjective
from scoreregs.options import ValueFunction
from scoreregs.times import UniformTimes
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.runs.configuration import PolicyConfig, StageName
from scoreregs_offline_rl.stages.behavior import behavior_prior
from scoreregs_offline_rl.stages.critic import Critic
from scoreregs_offline_rl.stages.networks import BehaviorNetwork, DiracPolicy
from scoreregs_offline_rl.stages.optimizers import adam, cosine_decay
from scoreregs_offline_rl.stages.stage import Metrics, Randoms, Stage

__all__ = ["PolicyStage", "draw_diffusion", "policy_objective"]


def policy_objective(
    value: ValueFunction, prior: ScorePrior, config: PolicyConfig, *, beta: float = 1.0
) -> ScoreRegularizedObjective:
    """Eq. 15 as a configuration has it, with a loss for each sample."""
    return ScoreRegularizedObjective.from_value(
        value,
        prior,
        beta=beta,
        weighting=config.weighting,
        baseline=config.baseline,
        times=UniformTimes(*config.times, config.points),
        draws=config.draws,
        normalize=config.normalize,
        beta_on=config.beta_on,
        reduction="none",
    )


def draw_diffusion(
    objective: ScoreRegularizedObjective, batch_size: int, action_size: int, generator: Generator
) -> Randoms:
    """Times t (batch, draws) as the objective has them, and noise (batch, draws, a)."""
    device, draws = generator.device, objective.draws
    t = objective.times.sample(draws, batch_size, device, generator).mT
    noise = torch.randn(batch_size, draws, action_size, generator=generator, device=device)
    return {"t": t, "noise": noise}


@final
class PolicyStage(Stage):
    """A deterministic policy that climbs Q and stays where the behavior model puts the data.

    The action's gradient is minus the bracket of Eq. 15, with Q the mean of the averaged twins.

    Args:
        policy: The policy that is trained.
        critic: The finished critic, on the policy's device; it is only read.
        behavior: The finished behavior network, likewise.
        config: Settings.
        beta: Temperature, above 0.
    """

    name: ClassVar[StageName] = "policy"

    def __init__(
        self,
        policy: DiracPolicy,
        critic: Critic,
        behavior: BehaviorNetwork,
        config: PolicyConfig,
        *,
        beta: float,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.config = config
        self.objective = policy_objective(
            critic.target_q.mean, behavior_prior(behavior), config, beta=beta
        )
        self._action_size = behavior.output.out_features

    def draw(self, batch_size: int, generator: Generator) -> Randoms:
        """Times t (batch, draws) and noise (batch, draws, a)."""
        return draw_diffusion(self.objective, batch_size, self._action_size, generator)

    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        """The objective's loss at the policy's actions; the data's own actions play no part."""
        # A forward pass in low precision ends here: x_t = alpha a + sigma eps needs more digits.
        action = self.policy(batch.observations).to(batch.observations.dtype)
        t, noise = (rows.transpose(0, 1) for rows in (randoms["t"], randoms["noise"]))
        result = self.objective(action, batch.observations, t=t, noise=noise)
        gradient = result.gradient.norm(dim=-1).mean()
        return result.loss.mean(), {"q": result.value.mean(), "gradient": gradient}

    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """Adam, with a cosine decay to zero over the run."""
        optimizer = adam(self.policy.parameters(), self.config.learning_rate)
        return optimizer, cosine_decay(optimizer, self.config.steps)
