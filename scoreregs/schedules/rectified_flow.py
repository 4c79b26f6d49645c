"""The straight path of rectified flow."""

import math

import torch
from torch import Tensor

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules.base import NoiseSchedule, as_time

__all__ = ["RectifiedFlowSchedule"]


@named_calls
class RectifiedFlowSchedule(NoiseSchedule):
    r"""The straight path from data to noise, its time warped by a shift.

    $$ \alpha = 1 - \sigma, \qquad \sigma = \frac{s\, t}{1 + (s - 1)\, t} $$

    A flow network on it predicts epsilon - x, the velocity in sigma, whatever the shift; and wants
    sigma as its time, which is t only without a shift: give `time_map=lambda t: schedule(t)[1]`.

    Args:
        shift: s, > 0, which lowers the log-SNR at every t by 2 log s; SD3's is 3.

    Raises:
        ArgumentError: for a shift that is not positive and finite.

    References:
        Liu et al., Flow Straight and Fast, 2023; Esser et al., Scaling Rectified Flow Transformers
        for High-Resolution Image Synthesis, 2024, Eq. 23 (the shift).

    Example:
        >>> from scoreregs import RectifiedFlowSchedule
        >>> alpha, sigma = RectifiedFlowSchedule(shift=3.0)(torch.tensor([0.0, 0.5, 1.0]))
        >>> alpha, sigma
        (tensor([1.0000, 0.2500, 0.0000]), tensor([0.0000, 0.7500, 1.0000]))
    """

    def __init__(self, shift: float = 1.0) -> None:
        check_numbers(shift=shift)
        if not 0 < shift < float("inf"):
            raise ArgumentError(
                f"got shift={shift}, expected a positive number: 1 is no shift, SD3's is 3"
            )
        self.shift = float(shift)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (alpha, sigma) at t in [0, 1] of any shape."""
        scale = 1 + (self.shift - 1) * t
        return (1 - t) / scale, self.shift * t / scale

    def log_snr(self, t: Tensor) -> Tensor:
        """Returns 2 log(alpha / sigma) at t; infinite at both ends."""
        return 2 * (torch.log1p(-t) - torch.log(t) - math.log(self.shift))

    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (d alpha / dt, d sigma / dt) at t."""
        d_sigma = self.shift / (1 + (self.shift - 1) * t).square()
        return -d_sigma, d_sigma

    def velocity(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (-1, 1): a flow network predicts epsilon - x whatever the shift."""
        return -torch.ones_like(t), torch.ones_like(t)

    def log_snr_derivative(self, t: Tensor) -> Tensor:
        """Returns d log_snr / dt = -2 / (t (1 - t)) at t; infinite at both ends."""
        return -2 / (t * (1 - t))

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """Returns the t at which the log signal-to-noise ratio is `log_snr`, in closed form."""
        return torch.sigmoid(-as_time(log_snr, name="log_snr") / 2 - math.log(self.shift))
