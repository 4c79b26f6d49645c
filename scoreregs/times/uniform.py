"""Times that are uniform in t, or fixed."""

from typing import TypeGuard

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_numbers, check_range, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules import as_time
from scoreregs.times.base import QuantileTimes, TimeSampler
from scoreregs.times.points import PointsLike

__all__ = ["FixedTime", "TimesLike", "UniformTimes", "as_distribution", "as_times"]


@named_calls
class UniformTimes(QuantileTimes):
    """Times drawn uniformly between two bounds.

    Args:
        low: lower bound, the paper's .02.
        high: upper bound, the paper's .98.
        points: "independent"; "stratified" (jittered) or "low_discrepancy", which spread the draws
            of a sample and the samples of a batch evenly, for a smaller variance.

    Raises:
        ArgumentError: unless 0 <= low < high <= 1, or for unknown points.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> t = UniformTimes().sample(1, 1000, torch.device("cpu"), generator)
        >>> bool(t.min() >= 0.02 and t.max() <= 0.98)
        True
    """

    def __init__(
        self, low: float = 0.02, high: float = 0.98, points: PointsLike = "independent"
    ) -> None:
        super().__init__(points)
        check_range(low, high)
        self.low = float(low)
        self.high = float(high)

    @override
    def quantile(self, u: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * u


@named_calls
class FixedTime(TimeSampler):
    """One time for every sample.

    Args:
        t: the time, in [0, 1].

    Raises:
        ArgumentError: for a time outside [0, 1].

    Example:
        >>> FixedTime(0.3).sample(1, 2, torch.device("cpu"), None)
        tensor([[0.3000, 0.3000]], dtype=torch.float64)
    """

    def __init__(self, t: float) -> None:
        check_numbers(t=t)
        if not 0 <= t <= 1:
            raise ArgumentError(f"got the time {t}, expected one in [0, 1]: 0 is data, 1 is noise")
        self.t = self.low = self.high = float(t)

    @override
    def sample(
        self, draws: int, batch: int, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        return as_time(self.low, device).expand(draws, batch)


TimesLike = tuple[float, float] | float | TimeSampler


@named_calls
def as_times(times: TimesLike) -> TimeSampler:
    """Returns the sampler of a range (low, high), of a fixed time, or a `TimeSampler` itself.

    Raises:
        ArgumentError: for anything else, or times outside [0, 1].

    Example:
        >>> as_times((0.1, 0.9)).high
        0.9
    """
    if isinstance(times, TimeSampler):
        return times
    if isinstance(times, (tuple, list)) and len(times) == 2 and all(map(_is_number, times)):
        return UniformTimes(*times)
    if _is_number(times):
        return FixedTime(times)
    raise ArgumentError(
        f"got times={times!r}, expected a range (low, high), a fixed time or a TimeSampler"
    )


def as_distribution(times: tuple[float, float] | QuantileTimes) -> QuantileTimes:
    """Returns the uniform distribution over a range (low, high), or a distribution itself.

    Raises:
        ArgumentError: for anything else.
    """
    sampler = as_times(times)
    if not isinstance(sampler, QuantileTimes):
        raise ArgumentError(
            f"got {times!r}, expected a range (low, high) or a distribution such as LogSNRTimes"
        )
    return sampler


def _is_number(time: object) -> TypeGuard[float]:
    return isinstance(time, (int, float)) and not isinstance(time, bool)
