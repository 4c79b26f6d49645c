"""Samplers of the diffusion time t in Eq. 15."""

from abc import ABC, abstractmethod
from typing import TypeGuard

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.errors import ArgumentError
from scoreregs.schedules import as_time

__all__ = [
    "FixedTime",
    "TimeSampler",
    "TimesLike",
    "UniformTimes",
    "as_times",
    "check_times",
]


def check_times(times: Tensor) -> None:
    """Raises `ArgumentError` unless times are in [0, 1] (waits for the device)."""
    if not bool(((times >= 0) & (times <= 1)).all()):
        raise ArgumentError(
            f"got times from {times.min().item():.6g} to {times.max().item():.6g}, expected them "
            "in [0, 1]: 0 is data, 1 is noise; a step k of N is (k + 1) / N"
        )


class TimeSampler(ABC):
    """A distribution of times, abstract in `sample`.

    Attributes:
        low: no sampled time lies below.
        high: no sampled time lies above.
    """

    low: float
    high: float

    @abstractmethod
    def sample(
        self, draws: int, batch: int, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        """Returns times, (draws, batch), float64, between `low` and `high`."""


class UniformTimes(TimeSampler):
    """Times drawn independently and uniformly between two bounds.

    Args:
        low: lower bound, the paper's .02.
        high: upper bound, the paper's .98.

    Raises:
        ArgumentError: unless 0 <= low < high <= 1.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> t = UniformTimes().sample(1, 1000, torch.device("cpu"), generator)
        >>> bool(t.min() >= 0.02 and t.max() <= 0.98)
        True
    """

    def __init__(self, low: float = 0.02, high: float = 0.98) -> None:
        if not 0 <= low < high <= 1:
            raise ArgumentError(
                f"got the time range ({low}, {high}), expected 0 <= low < high <= 1: 0 is data and "
                "1 is noise for every schedule; the paper's range is (0.02, 0.98)"
            )
        self.low = float(low)
        self.high = float(high)

    @override
    def sample(
        self, draws: int, batch: int, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        dtype = as_time(0.0, device).dtype
        uniform = torch.rand(draws, batch, generator=generator, dtype=dtype, device=device)
        return self.low + (self.high - self.low) * uniform


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
        if not 0 <= t <= 1:
            raise ArgumentError(f"got the time {t}, expected one in [0, 1]: 0 is data, 1 is noise")
        self.low = self.high = float(t)

    @override
    def sample(
        self, draws: int, batch: int, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        return as_time(self.low, device).expand(draws, batch)


TimesLike = tuple[float, float] | float | TimeSampler


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
    if isinstance(times, tuple | list) and len(times) == 2 and all(map(_is_number, times)):
        return UniformTimes(*times)
    if _is_number(times):
        return FixedTime(times)
    raise ArgumentError(
        f"got times={times!r}, expected a range (low, high), a fixed time or a TimeSampler"
    )


def _is_number(time: object) -> TypeGuard[float]:
    return isinstance(time, int | float) and not isinstance(time, bool)
