r"""Times that are drawn where the weighted residual has turned out to be large."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.arguments import check_decay, named_calls
from scoreregs.devices import follow
from scoreregs.errors import ArgumentError
from scoreregs.schedules import NoiseLevel, as_time
from scoreregs.times.density import CELLS, DensityTimes
from scoreregs.times.points import PointsLike

__all__ = ["AdaptiveTimes"]

# Of the density, so that every time is visited and no weight grows beyond five times its own.
_UNIFORM_SHARE = 0.2


@named_calls
class AdaptiveTimes(nn.Module, DensityTimes):
    r"""Times that are drawn in proportion to the root of the residual's second moment.

    $$ p(t) \propto \sqrt{\mathbb E \| w(t)\, (\hat\epsilon - b) \|^2}, \qquad
       w_p(t) = \frac{w(t)}{(\mathrm{high} - \mathrm{low})\, p(t)} $$

    for four fifths of p, the rest uniform: of all densities of independent times this one leaves
    the smallest variance. The moment is a running mean over past batches in bins of t, between
    which the density is interpolated. A batch is taken in after its residual has been computed, so
    under the weight $w_p$, which is `weight`, the expected gradient stays that of w under uniform
    times. It starts as uniform times, is a buffer that the objective's `state_dict` saves, and
    stands still in eval mode.

    Args:
        weighting: w, a `TimeWeighting` or another function of the `NoiseLevel`.
        low: lower bound.
        high: upper bound.
        points: as for `UniformTimes`.
        bins: how many bins divide the range, at least 2.
        decay: what a bin keeps of its past when a batch visits it, in [0, 1).

    Raises:
        ArgumentError: unless 0 <= low < high <= 1, or for an argument outside its range.

    References:
        Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, ICML 2021, for the
        training loss of a diffusion model.

    Example:
        >>> from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
        >>> from scoreregs.weightings import Sigma2
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> times = AdaptiveTimes(Sigma2(), points="low_discrepancy")
        >>> objective = ScoreRegularizedObjective.from_value(
        ...     None, prior, times=times, weighting=times.weight, baseline="optimal_noise"
        ... )
    """

    moment: Tensor
    visits: Tensor

    def __init__(
        self,
        weighting: Callable[[NoiseLevel], Tensor],
        low: float = 0.02,
        high: float = 0.98,
        points: PointsLike = "independent",
        *,
        bins: int = 32,
        decay: float = 0.99,
    ) -> None:
        nn.Module.__init__(self)
        DensityTimes.__init__(self, weighting, low, high, points)
        if isinstance(bins, bool) or not isinstance(bins, int) or bins < 2:
            raise ArgumentError(f"got bins={bins!r}, expected an integer of at least 2")
        check_decay(decay)
        self.bins, self.decay = bins, decay
        # Sums of |w (epsilon_hat - b)|^2 and of samples, which the decay shortens alike.
        self.register_buffer("moment", torch.zeros(bins, dtype=torch.float32))
        self.register_buffer("visits", torch.zeros(bins, dtype=torch.float32))

    @override
    def density(self, device: torch.device) -> Tensor:
        follow(self, device)
        known = self.visits > 0
        size = as_time(torch.where(known, self.moment / self.visits.clamp(min=1), 0.0)).sqrt()
        # A bin that was never visited counts as the mean of those that were; at first all are one.
        mean = size.sum() / known.sum().clamp(min=1)
        size = torch.where(mean > 0, torch.where(known, size, mean), 1.0)
        fine = F.interpolate(size[None, None], CELLS, mode="linear")[0, 0]
        return _UNIFORM_SHARE + (1 - _UNIFORM_SHARE) * fine / fine.mean()

    @override
    @torch.no_grad()
    def observe(self, t: Tensor, residual: Tensor) -> None:
        follow(self, residual.device)
        # Without the weight that makes up for the density of now, which is not that of later.
        norm = residual.flatten(1).norm(dim=1) * self._density_at(t)
        known = (t >= self.low) & (t <= self.high) & norm.isfinite()
        share = (t - self.low) / (self.high - self.low)
        bins = torch.arange(len(self.visits), device=t.device)
        cell = (share * len(bins)).long().clamp(0, len(bins) - 1)
        visits = ((cell[:, None] == bins) & known[:, None]).float()
        kept = torch.where(visits.any(0), self.decay, 1.0)
        self.moment.mul_(kept).add_(torch.where(known, norm.square(), 0.0).float() @ visits)
        self.visits.mul_(kept).add_(visits.sum(0))
