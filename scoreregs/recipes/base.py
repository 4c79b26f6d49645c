"""What recipes share."""

from collections.abc import Callable

from torch import Tensor

from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior

__all__ = ["FitLoss", "distil"]

FitLoss = Callable[..., Tensor]


def distil(
    prior: ScorePrior,
    defaults: ObjectiveOptions,
    options: ObjectiveOptions,
    value: ValueFunction | None = None,
) -> ScoreRegularizedObjective:
    """Returns the objective of a prior, by a recipe's options and the caller's on top."""
    return ScoreRegularizedObjective.from_value(value, prior, **{**defaults, **options})
