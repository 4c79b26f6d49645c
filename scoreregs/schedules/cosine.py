"""The cosine schedule."""

import math

import torch
from torch import Tensor

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules.base import NoiseSchedule, as_time

__all__ = ["CosineSchedule"]


@named_calls
class CosineSchedule(NoiseSchedule):
    r"""The cosine schedule in continuous time.

    $$ \alpha = \frac{\cos u(t)}{\cos u(0)}, \qquad \sigma = \sqrt{1 - \alpha^2}, \qquad
       u(t) = \frac{t + s}{1 + s} \cdot \frac{\pi}{2} $$

    Exact at both ends: sigma(0) = 0 and alpha(1) = 0, a zero terminal signal-to-noise ratio.

    Args:
        offset: s, which keeps sigma from being too small near t = 0, >= 0; 0 is the plain cosine.

    Raises:
        ArgumentError: for a negative or infinite offset.

    References:
        Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, Eq. 17. Their
        table clips its last steps; wrap that one in `TabulatedSchedule`.

    Example:
        >>> from scoreregs import CosineSchedule
        >>> alpha, sigma = CosineSchedule()(torch.tensor([0.0, 0.5, 1.0]))
        >>> alpha, sigma
        (tensor([1.0000, 0.7027, 0.0000]), tensor([0.0000, 0.7114, 1.0000]))
    """

    def __init__(self, offset: float = 0.008) -> None:
        check_numbers(offset=offset)
        if not 0 <= offset < float("inf"):
            raise ArgumentError(
                f"got offset={offset}, expected a finite one >= 0: the field's value is 0.008"
            )
        self.offset = float(offset)
        self._rate = math.pi / 2 / (1 + self.offset)
        self._start = self.offset * self._rate

    def _angle(self, t: Tensor) -> Tensor:
        return self._start + self._rate * t

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (alpha, sigma) at t in [0, 1] of any shape."""
        cosine = math.cos(self._start)
        # cos u is the sine of what is left of the quarter turn, which is exactly 0 at t = 1, and
        # 1 - alpha^2 a product of sines, which keeps its precision near t = 0.
        alpha = torch.sin(self._rate * (1 - t)) / cosine
        variance = torch.sin(self._rate * t) * torch.sin(self._angle(t) + self._start)
        return alpha, torch.sqrt(variance) / cosine

    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (d alpha / dt, d sigma / dt) at t; the second is infinite at t = 0."""
        alpha, sigma = self(t)
        d_alpha = -self._rate * torch.sin(self._angle(t)) / math.cos(self._start)
        return d_alpha, -alpha * d_alpha / sigma

    def log_snr_derivative(self, t: Tensor) -> Tensor:
        """Returns d log_snr / dt = 2 alpha' / (alpha sigma^2) at t; infinite at both ends."""
        alpha, sigma = self(t)
        d_alpha = -self._rate * torch.sin(self._angle(t)) / math.cos(self._start)
        return 2 * d_alpha / (alpha * sigma.square())

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """Returns the t at which the log signal-to-noise ratio is `log_snr`, in closed form."""
        log_snr = as_time(log_snr, name="log_snr")
        cosine, sine = math.cos(self._start), math.sin(self._start)
        adjacent = torch.sqrt(torch.sigmoid(log_snr)) * cosine
        opposite = torch.sqrt(torch.sigmoid(-log_snr) * cosine**2 + sine**2)
        return (torch.atan2(opposite, adjacent) - self._start) / self._rate
