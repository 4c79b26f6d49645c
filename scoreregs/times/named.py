"""Distributions of the time by name."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor

from scoreregs.arguments import check_choice, check_pair, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules import NoiseLevel, NoiseSchedule, as_time
from scoreregs.schedules.base import check_schedule
from scoreregs.times.adaptive import AdaptiveTimes
from scoreregs.times.base import QuantileTimes
from scoreregs.times.importance import ImportanceTimes
from scoreregs.times.log_snr import LogNormalTimes, LogSNRTimes
from scoreregs.times.points import PointsLike
from scoreregs.times.uniform import UniformTimes

__all__ = ["TimesName", "named_times"]

TimesName = Literal["uniform", "log_snr", "log_normal", "importance", "adaptive"]


@named_calls
def named_times(
    name: TimesName,
    schedule: NoiseSchedule,
    times: tuple[float, float] = (0.02, 0.98),
    log_snr: tuple[float, float] | None = None,
    points: PointsLike = "independent",
    weighting: Callable[[NoiseLevel], Tensor] | None = None,
) -> QuantileTimes:
    """Returns a sampler of times.

    Args:
        name: "uniform" in t; "log_snr", uniform in the log-SNR; "log_normal" in sigma / alpha, as
            EDM is trained; "importance" or "adaptive", where the residual is large: `DensityTimes`,
            whose `weight` takes the place of the objective's weighting.
        schedule: the prior's, `prior.schedule`.
        times: range of t, in [0, 1].
        log_snr: range of the log-SNR in its place, which means the same for every schedule.
        points: as for `UniformTimes`.
        weighting: w, a function of the noise level; only the last two names need it.

    Raises:
        ArgumentError: for an unknown name, a range outside its bounds, or a weighting that is
            missing where it is needed.

    Example:
        >>> from scoreregs import VPSchedule
        >>> sampler = named_times("uniform", VPSchedule(), log_snr=(-4.0, 4.0))
        >>> VPSchedule().log_snr(as_time([sampler.low, sampler.high])).round(decimals=6).tolist()
        [4.0, -4.0]
    """
    check_schedule(schedule)
    check_choice("name", name, get_args(TimesName))
    low, high = check_pair("times", times)
    if log_snr is not None:
        log_snr = check_pair("log_snr", log_snr)
        ends = as_time([log_snr[1], log_snr[0]], "cpu")
        schedule.check_reached(ends)
        low, high = schedule.t_from_log_snr(ends).tolist()
    if name == "uniform":
        return UniformTimes(low, high, points)
    if name == "log_snr":
        noisiest, cleanest = log_snr or schedule.log_snr(as_time([high, low], "cpu")).tolist()
        return LogSNRTimes(schedule, noisiest, cleanest, points)
    if name == "log_normal":
        return LogNormalTimes(schedule, low=low, high=high, points=points)
    if weighting is None:
        raise ArgumentError(
            f"got {name!r} times without a weighting of the noise level alone, expected one: take "
            "another weighting, or 'uniform' times"
        )
    if name == "importance":
        return ImportanceTimes(schedule, weighting, low, high, points)
    return AdaptiveTimes(weighting, low, high, points)
