r"""Times of a density that is known cell by cell, and the weight that makes up for it."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_function, check_range
from scoreregs.schedules import NoiseLevel
from scoreregs.times.base import QuantileTimes
from scoreregs.times.points import PointsLike

__all__ = ["CELLS", "DensityTimes"]

# Fine beside the steps of a table, at whose times, not at those drawn, the weight is read.
CELLS = 8192


class DensityTimes(QuantileTimes):
    r"""Times of a density on [low, high], abstract in `density`.

    $$ w_p(t) = \frac{w(t)}{(\mathrm{high} - \mathrm{low})\, p(t)} $$

    is `weight`: under it the expected gradient is that of w under uniform times.

    Args:
        weighting: w, a `TimeWeighting` or another function of the `NoiseLevel`.
        low: lower bound.
        high: upper bound.
        points: as for `UniformTimes`.

    Raises:
        ArgumentError: unless 0 <= low < high <= 1, or for a weighting that is no function.
    """

    def __init__(
        self,
        weighting: Callable[[NoiseLevel], Tensor],
        low: float,
        high: float,
        points: PointsLike,
    ) -> None:
        super().__init__(points)
        check_range(low, high)
        check_function("weighting", weighting, "the NoiseLevel, such as weightings.Sigma2()")
        self.low, self.high = float(low), float(high)
        self._weighting = weighting

    @abstractmethod
    def density(self, device: torch.device) -> Tensor:
        """Returns p relative to the uniform density, (CELLS,), float64, of mean 1 and positive."""

    @override
    def quantile(self, u: Tensor) -> Tensor:
        density = self.density(u.device)
        above = density.cumsum(0) / CELLS
        cell = torch.searchsorted(above, u.contiguous(), right=True).clamp(max=CELLS - 1)
        left = (u - above[cell]) / density[cell]
        return self._time_of((cell + 1) / CELLS + left).clamp(self.low, self.high)

    def weight(self, level: NoiseLevel) -> Tensor:
        """Returns the weight, (batch,), that makes up for the density: the objective's weighting.

        Args:
            level: of times between `low` and `high`.
        """
        return self._weighting(level) / self._density_at(level.t)

    def _density_at(self, t: Tensor) -> Tensor:
        share = (t - self.low) / (self.high - self.low)
        return self.density(t.device)[(share * CELLS).long().clamp(0, CELLS - 1)]

    def _time_of(self, share: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * share
