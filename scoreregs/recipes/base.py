"""What recipes share."""

from collections.abc import Callable

from torch import Tensor, nn

from scoreregs.baselines import TrainedBaseline
from scoreregs.errors import ArgumentError
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.priors.matched import same_schedule
from scoreregs.times import TimesLike

__all__ = ["FitLoss", "distil", "regularize", "trained"]

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


def trained(
    prior: ScorePrior, fake: ScorePrior, times: TimesLike, options: ObjectiveOptions
) -> TrainedBaseline:
    """Returns the baseline that trains a fake prior, at the times given for the objective.

    At others of its own where none are given, where those have a state, which belongs to one call a
    step, and where they mean other noise levels under the fake prior's schedule.
    """
    for each in (prior, fake):
        check_prior_type(each)
    given = options.get("times")
    if given is not None and not isinstance(given, nn.Module):
        times = given if same_schedule(prior.schedule, fake.schedule) else times
    return TrainedBaseline(fake, times=times, generator=options.get("generator"))
