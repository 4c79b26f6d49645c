"""Samplers of the diffusion time t in Eq. 15."""

from scoreregs.times.adaptive import AdaptiveTimes
from scoreregs.times.base import QuantileTimes, TimeSampler, check_times
from scoreregs.times.density import DensityTimes
from scoreregs.times.importance import ImportanceTimes
from scoreregs.times.log_snr import LogNormalTimes, LogSNRTimes
from scoreregs.times.named import TimesName, named_times
from scoreregs.times.points import Points, PointsLike, PointsName
from scoreregs.times.progressive import AnnealedTimes, DescendingTimes
from scoreregs.times.uniform import FixedTime, TimesLike, UniformTimes, as_times

__all__ = [
    "AdaptiveTimes",
    "AnnealedTimes",
    "DensityTimes",
    "DescendingTimes",
    "FixedTime",
    "ImportanceTimes",
    "LogNormalTimes",
    "LogSNRTimes",
    "Points",
    "PointsLike",
    "PointsName",
    "QuantileTimes",
    "TimeSampler",
    "TimesLike",
    "TimesName",
    "UniformTimes",
    "as_times",
    "check_times",
    "named_times",
]
