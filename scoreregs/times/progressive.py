"""Times that change from call to call."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs.clock import Clock
from scoreregs.times.base import QuantileTimes, TimeSampler
from scoreregs.times.points import PointsLike, as_points
from scoreregs.times.uniform import as_distribution

__all__ = ["AnnealedTimes", "DescendingTimes"]


@named_calls
class DescendingTimes(nn.Module, TimeSampler):
    r"""One time for every sample, which descends from call to call: RED-diff's.

    $$ t_i = F^{-1}\big(1 - \tfrac{i}{\mathrm{steps} - 1}\big) $$

    goes evenly through the quantiles of a distribution F, and stays at its lowest time after
    `steps` calls. The step is a buffer that the objective's `state_dict` saves, and stands still in
    eval mode.

    Args:
        steps: how many calls lead from the highest time to the lowest.
        over: a range (low, high), for equal steps in t, or a distribution.

    Raises:
        ArgumentError: for less than one step or a range outside its bounds.

    References:
        Mardani et al., A Variational Perspective on Solving Inverse Problems with Diffusion Models,
        ICLR 2024; Huang et al., DreamTime, ICLR 2024, for other distributions than a range.

    Example:
        >>> times = DescendingTimes(3, over=(0.1, 0.9))
        >>> [times.sample(1, 1, torch.device("cpu"), None).item() for _ in range(4)]
        [0.9, 0.5, 0.1, 0.1]
    """

    def __init__(
        self, steps: int, over: tuple[float, float] | QuantileTimes = (0.02, 0.98)
    ) -> None:
        super().__init__()
        self.steps, self.clock = steps, Clock(steps)
        self._over = as_distribution(over)
        self.low, self.high = self._over.low, self._over.high

    @override
    def sample(
        self, draws: int, batch: int, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        return self._over.quantile(1 - self.clock.tick(device)).expand(draws, batch)


@named_calls
class AnnealedTimes(nn.Module, TimeSampler):
    r"""Random times whose distribution moves from one to another over a number of calls.

    $$ t = (1 - p)\, F_0^{-1}(u) + p\, F_1^{-1}(u), \qquad p = \tfrac{i}{\mathrm{steps} - 1} $$

    For two ranges the bounds move evenly. The step is kept as by `DescendingTimes`.

    Args:
        start: the first call's range (low, high) or distribution.
        end: that of call number `steps` and every later one.
        steps: how many calls lead from start to end.
        points: as for `UniformTimes`; those of start and end are not used.

    Raises:
        ArgumentError: for less than one step or a range outside its bounds.

    References:
        Wang et al., ProlificDreamer, NeurIPS 2023, lowers the upper bound from .98 to .5.

    Example:
        >>> times = AnnealedTimes((0.02, 0.98), (0.02, 0.5), steps=5000)
        >>> times.low, times.high
        (0.02, 0.98)
    """

    def __init__(
        self,
        start: tuple[float, float] | QuantileTimes,
        end: tuple[float, float] | QuantileTimes,
        steps: int,
        points: PointsLike = "independent",
    ) -> None:
        super().__init__()
        self.steps, self.clock = steps, Clock(steps)
        self._points, self.points = points, as_points(points)
        self._start, self._end = as_distribution(start), as_distribution(end)
        self.low = min(self._start.low, self._end.low)
        self.high = max(self._start.high, self._end.high)

    @override
    def sample(
        self, draws: int, batch: int, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        u = self.points(draws, batch, device, generator)
        share = self.clock.tick(device)
        return torch.lerp(self._start.quantile(u), self._end.quantile(u), share)
