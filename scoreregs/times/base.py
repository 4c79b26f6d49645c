"""What samplers of the time share."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_has_values
from scoreregs.errors import ArgumentError
from scoreregs.reprs import Constructed
from scoreregs.times.points import PointsLike, as_points

__all__ = ["QuantileTimes", "TimeSampler", "check_times"]


def check_times(times: Tensor) -> None:
    """Raises `ArgumentError` unless times are in [0, 1] (waits for the device)."""
    if not isinstance(times, Tensor):
        raise ArgumentError(
            f"got times of type {type(times).__name__}, expected a tensor: use torch.as_tensor"
        )
    check_has_values("times", times)
    if not bool(((times >= 0) & (times <= 1)).all()):
        raise ArgumentError(
            f"got times from {times.min().item():.6g} to {times.max().item():.6g}, expected them "
            "in [0, 1]: 0 is data, 1 is noise; a step k of N is (k + 1) / N"
        )


class TimeSampler(Constructed, ABC):
    """A distribution of times, abstract in `sample`.

    One with state is a `torch.nn.Module` too, whose buffers an objective saves.

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

    def observe(self, t: Tensor, residual: Tensor) -> None:
        """Learns from a finished draw; a sampler without a state does nothing.

        Args:
            t: the times of the draw, (batch,).
            residual: its weighted residual, (batch, *event).
        """


class QuantileTimes(TimeSampler):
    """Times of one distribution, abstract in its quantile function.

    Args:
        points: where the distribution is evaluated, see `scoreregs.times.points`.
    """

    def __init__(self, points: PointsLike = "independent") -> None:
        self._points, self.points = points, as_points(points)

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """Returns the times below which a share u of the distribution lies, of u's shape."""

    @override
    def sample(
        self, draws: int, batch: int, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        return self.quantile(self.points(draws, batch, device, generator))
