"""The variance-exploding schedule."""

import math

import torch
from torch import Tensor

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules.base import NoiseSchedule, as_time

__all__ = ["VESchedule"]


@named_calls
class VESchedule(NoiseSchedule):
    r"""The variance-exploding schedule: the data keeps its scale, the noise grows geometrically.

    $$ \alpha = 1, \qquad
       \sigma = \sigma_{\min} \Big( \frac{\sigma_{\max}}{\sigma_{\min}} \Big)^t $$

    The log-SNR is linear in t and finite at both ends.

    Args:
        sigma_min: the noise at t = 0, in units of the data, > 0.
        sigma_max: the noise at t = 1, > sigma_min; about the largest distance between samples.

    Raises:
        ArgumentError: unless 0 < sigma_min < sigma_max.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2021, Appendix C.

    Example:
        >>> from scoreregs import VESchedule
        >>> VESchedule(0.01, 100.0)(torch.tensor([0.0, 0.5, 1.0]))[1]
        tensor([1.0000e-02, 1.0000e+00, 1.0000e+02])
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        check_numbers(sigma_min=sigma_min, sigma_max=sigma_max)
        if not 0 < sigma_min < sigma_max < float("inf"):
            raise ArgumentError(
                f"got sigma_min={sigma_min} and sigma_max={sigma_max}, "
                "expected 0 < sigma_min < sigma_max: the field's values are 0.01 and 50"
            )
        self.sigma_min = float(sigma_min)
        self.sigma_max = float(sigma_max)
        self._growth = math.log(self.sigma_max / self.sigma_min)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (alpha, sigma) at t in [0, 1] of any shape."""
        return torch.ones_like(t), self.sigma_min * torch.exp(self._growth * t)

    def log_snr(self, t: Tensor) -> Tensor:
        """Returns 2 log(alpha / sigma) at t, which is linear."""
        return -2 * (math.log(self.sigma_min) + self._growth * t)

    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (d alpha / dt, d sigma / dt) at t."""
        _, sigma = self(t)
        return torch.zeros_like(t), self._growth * sigma

    def log_snr_derivative(self, t: Tensor) -> Tensor:
        """Returns d log_snr / dt at t, a constant."""
        return torch.full_like(t, -2 * self._growth)

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """Returns the t at which the log signal-to-noise ratio is `log_snr`, in closed form.

        Ratios that the schedule never has give t outside [0, 1], where the formulas go on.
        """
        return (-as_time(log_snr, name="log_snr") / 2 - math.log(self.sigma_min)) / self._growth
