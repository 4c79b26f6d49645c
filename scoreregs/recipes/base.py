"""What recipes share."""

from collections.abc import Callable

from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior

__all__ = ["FitLoss", "distil", "regularize"]

FitLoss = Callable[..., Tensor]


def distil(
    prior: ScorePrior,
    defaults: ObjectiveOptions,
    options: ObjectiveOptions,
    value: ValueFunction | None = None,
) -> ScoreRegularizedObjective:
    """Returns the objective of a prior, by a recipe's options and the caller's on top."""
    return ScoreRegularizedObjective.from_value(value, prior, **{**defaults, **options})


def regularize(
    value: ValueFunction,
    prior: ScorePrior,
    defaults: ObjectiveOptions,
    options: ObjectiveOptions,
) -> ScoreRegularizedObjective:
    """Returns the objective of a recipe that is nothing without a value, likewise.

    Raises:
        ArgumentError: for no value.
    """
    if value is None:
        raise ArgumentError(
            "got value=None, expected a function of (x, condition): this recipe maximises one; "
            "`sds` and the like are of the prior alone"
        )
    return distil(prior, defaults, options, value)
