"""Behavior cloning: regression on the data's actions."""

from dataclasses import dataclass
from typing import final

from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.stages.actor import ActorConfig, ActorStage
from scoreregs_offline_rl.stages.stage import Curve, Metrics, Randoms

__all__ = ["CloningConfig", "CloningStage"]


@named_calls
@dataclass(frozen=True)
class CloningConfig(ActorConfig):
    """Behavior cloning, which needs no critic."""


@named_calls
@final
class CloningStage(ActorStage[CloningConfig]):
    r"""Regression on the data's actions, $L = \mathbb E\, \| \pi(s) - a \|^2$.

    Args:
        policy: the policy that is trained.
        config: settings.
    """

    name = "cloning"
    label = "cloning"
    help = "Train a clone of the data's actions, to compare with."
    colour = "#CC79A7"
    curve = Curve("loss", "square error")

    @override
    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        del randoms
        loss = (self.policy(batch.observations) - batch.actions).square().sum(-1).mean(-1)
        return loss, {"loss": loss.detach()}
