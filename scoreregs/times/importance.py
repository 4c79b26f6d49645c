r"""Times that are drawn where the weighted residual is large."""

from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules import NoiseLevel, NoiseSchedule, as_time
from scoreregs.schedules.base import check_schedule
from scoreregs.times.density import CELLS, DensityTimes
from scoreregs.times.points import PointsLike

__all__ = ["ImportanceTimes"]

# Of the density. No weight grows beyond its inverse, which a prior needs whose residual is large
# elsewhere: less is better for a Gaussian and worse for a network's errors at large t.
_UNIFORM_SHARE = 0.3


@named_calls
class ImportanceTimes(DensityTimes):
    r"""Times that are drawn in proportion to the weighted residual of a standard normal prior.

    $$ p(t) \propto w(t)\, \frac{\alpha \sigma}{\alpha^2 + \sigma^2}, \qquad
       w_p(t) = \frac{w(t)}{(\mathrm{high} - \mathrm{low})\, p(t)} $$

    for seven tenths of p, the rest uniform. Under the weight $w_p$, which is `weight`, the expected
    gradient is that of w under uniform times, and the times contribute alike: exactly so for a
    standard normal prior under `baseline="optimal_noise"`, but for the uniform part. This lowers
    the variance also where each sample has one draw, for which evenly spread points do little.

    Args:
        schedule: the prior's schedule, `prior.schedule`.
        weighting: w, a `TimeWeighting` or another function of the `NoiseLevel`.
        low: lower bound.
        high: upper bound.
        points: as for `UniformTimes`.

    Raises:
        ArgumentError: unless 0 <= low < high <= 1, or where w is infinite, negative or zero
            throughout.

    References:
        Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, ICML 2021, draw
        times in proportion to the root of the second moment, there of the loss.

    Example:
        >>> from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
        >>> from scoreregs.weightings import Sigma2
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> times = ImportanceTimes(prior.schedule, Sigma2(), points="low_discrepancy")
        >>> objective = ScoreRegularizedObjective.from_value(
        ...     None, prior, times=times, weighting=times.weight, baseline="optimal_noise"
        ... )
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        weighting: Callable[[NoiseLevel], Tensor],
        low: float = 0.02,
        high: float = 0.98,
        points: PointsLike = "independent",
    ) -> None:
        super().__init__(weighting, low, high, points)
        check_schedule(schedule)
        self._schedule = schedule
        middles = (torch.arange(CELLS, device="cpu") + 0.5) / CELLS
        level = schedule.at(self._time_of(as_time(middles)))
        size = weighting(level) * level.alpha * level.sigma
        size = size / (level.alpha.square() + level.sigma.square())
        if not bool((size.isfinite() & (size >= 0)).all()) or not bool(size.any()):
            raise ArgumentError(
                f"got a weighting from {size.min().item():.3g} to {size.max().item():.3g} times "
                f"the residual, expected finite ones >= 0 and not all zero: keep the range "
                f"({low}, {high}) away from singular times"
            )
        # The density in each cell relative to the uniform one, by device.
        density = _UNIFORM_SHARE + (1 - _UNIFORM_SHARE) * size / size.mean()
        self._densities = {density.device: density}

    @override
    def density(self, device: torch.device) -> Tensor:
        if device not in self._densities:
            self._densities[device] = as_time(self._densities[torch.device("cpu")], device)
        return self._densities[device]
