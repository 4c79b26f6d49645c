"""Advantage-weighted regression on the finished critic (Peng et al., 2019)."""

from dataclasses import dataclass
from typing import final

from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.configuration import NotNegative, Positive
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.stages.actor import ActorConfig, ActorStage
from scoreregs_offline_rl.stages.stage import Curve, Metrics, Randoms, ValueStage

__all__ = ["AWRConfig", "AWRStage"]


@named_calls
@dataclass(frozen=True)
class AWRConfig(ActorConfig):
    """Advantage-weighted regression."""

    advantage_scale: NotNegative = 3.0
    """Factor of the advantage in the exponent, at least 0; 10 is usual for AntMaze."""
    clip: Positive = 100.0
    """Largest weight."""


@named_calls
@final
class AWRStage(ActorStage[AWRConfig]):
    r"""Cloning of the data's actions, weighted by what the critic thinks of them.

    $$ L = \mathbb E \min(\exp(\mathrm{scale}\, A(s, a)), \mathrm{clip})\, \| \pi(s) - a \|^2 $$

    with the critic's advantage A.

    Args:
        policy: the policy that is trained.
        config: settings.
        given: the value.

    References:
        Peng et al., Advantage-Weighted Regression: Simple and Scalable Off-Policy Reinforcement
        Learning, 2019; the clip and IQL's critic are those of Kostrikov et al., 2022.
    """

    name = "awr"
    label = "advantage-weighted regression"
    help = "Train advantage-weighted regression on the finished critic of a run, to compare with."
    colour = "#D55E00"
    curve = Curve("loss", "weighted square error")
    needs = (ValueStage,)
    usual = True
    former_names = ("baseline",)

    @override
    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        del randoms
        advantage = self.value.advantage(batch.actions, batch.observations)
        weight = (self.config.advantage_scale * advantage).exp().clamp(max=self.config.clip)
        error = (self.policy(batch.observations) - batch.actions).square().sum(-1)
        loss = (weight * error).mean(-1)
        metrics = {"loss": loss, "error": error.mean(-1), "advantage": advantage.mean(-1)}
        return loss, {name: metric.detach() for name, metric in metrics.items()}
