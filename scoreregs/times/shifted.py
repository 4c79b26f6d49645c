"""Times moved towards the noise, as flow models of large images are trained and sampled."""

from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_positive, check_range, named_calls
from scoreregs.times.base import QuantileTimes
from scoreregs.times.points import PointsLike

__all__ = ["ShiftedTimes"]


@named_calls
class ShiftedTimes(QuantileTimes):
    r"""Uniform times under a shift, $t = s\, \tau / (1 + (s - 1)\, \tau)$.

    On rectified flow the log-SNR falls by $2 \ln s$ at each of them. It is for a prior on the
    schedule that the shift starts from: one whose schedule has the shift in it is shifted twice.

    Args:
        shift: s > 0; 3 for Stable Diffusion 3, larger for larger images.
        low: lower bound of tau.
        high: upper bound of tau.
        points: as for `UniformTimes`.

    Raises:
        ArgumentError: unless 0 <= low < high <= 1 and the shift is > 0.

    References:
        Esser et al., Scaling Rectified Flow Transformers for High-Resolution Image Synthesis, ICML
        2024, Eq. 23.

    Example:
        >>> import torch
        >>> ShiftedTimes(3.0, 0.0, 1.0).quantile(torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.0000, 0.7500, 1.0000])
    """

    def __init__(
        self,
        shift: float,
        low: float = 0.02,
        high: float = 0.98,
        points: PointsLike = "independent",
    ) -> None:
        super().__init__(points)
        check_positive(shift=shift)
        check_range(low, high)
        self._shift, self._low, self._high = float(shift), float(low), float(high)
        self.low, self.high = (shift * x / (1 + (shift - 1) * x) for x in (low, high))

    @override
    def quantile(self, u: Tensor) -> Tensor:
        even = self._low + (self._high - self._low) * u
        shifted = self._shift * even / (1 + (self._shift - 1) * even)
        return shifted.clamp(self.low, self.high)
