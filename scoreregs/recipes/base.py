"""What recipes share."""

from collections.abc import Callable, Sequence

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
    name: str,
    prior: ScorePrior,
    defaults: ObjectiveOptions,
    options: ObjectiveOptions,
    value: ValueFunction | None = None,
    *,
    fixed: Sequence[str] | None = None,
) -> ScoreRegularizedObjective:
    """Returns the objective of a prior, by a recipe's options and the caller's on top.

    Args:
        name: the recipe's.
        prior: the prior.
        defaults: the recipe's options.
        options: the caller's.
        value: to be maximised, or None.
        fixed: the options without which it would be another recipe; None: its Jacobian or none of
            it, and its baseline where it has one.

    Raises:
        ArgumentError: where the caller's options undo the recipe.
    """
    if fixed is None:
        fixed = ("through_prior", "baseline") if "baseline" in defaults else ("through_prior",)
    own: dict[str, object] = {"baseline": "noise", "through_prior": False, **defaults}
    for option in fixed:
        given = options.get(option, own[option])
        if given is not own[option] and not (isinstance(given, str) and given == own[option]):
            raise ArgumentError(
                f"got {option}={given!r} for {name}, expected none: its own is what makes it "
                f"{name}; use ScoreRegularizedObjective.from_value(value, prior, {option}=...)"
            )
    return ScoreRegularizedObjective.from_value(value, prior, **{**defaults, **options})


def regularize(
    name: str,
    value: ValueFunction,
    prior: ScorePrior,
    defaults: ObjectiveOptions,
    options: ObjectiveOptions,
    *,
    fixed: Sequence[str] | None = None,
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
    return distil(name, prior, defaults, options, value, fixed=fixed)


def trained(
    prior: ScorePrior, fake: ScorePrior, times: TimesLike, options: ObjectiveOptions
) -> TrainedBaseline:
    """Returns the baseline that trains a fake prior, at the times given for the objective.

    At others of its own where none are given, where those have a state, which belongs to one call a
    step, and where they mean other noise levels under the fake prior's schedule.

    Raises:
        ArgumentError: for what is no prior, and for one prior as both.
    """
    for each in (prior, fake):
        check_prior_type(each)
    if fake is prior:
        raise ArgumentError(
            "got one prior as `prior` and `fake`, expected a fake prior of its own: they would "
            "cancel, and training the one would move the other; copy it with copy.deepcopy"
        )
    given = options.get("times")
    if given is not None and not isinstance(given, nn.Module):
        times = given if same_schedule(prior.schedule, fake.schedule) else times
    return TrainedBaseline(fake, times=times, generator=options.get("generator"))
