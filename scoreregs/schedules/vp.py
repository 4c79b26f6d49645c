"""The variance-preserving schedule."""

import torch
import torch.nn.functional as F
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs.schedules.base import NoiseSchedule, as_time

__all__ = ["VPSchedule"]


class VPSchedule(NoiseSchedule):
    r"""The variance-preserving schedule with a linear beta(t).

    $$ \log \alpha = -\tfrac14 (\beta_1 - \beta_0) t^2 - \tfrac12 \beta_0 t, \qquad
       \sigma = \sqrt{1 - \alpha^2} $$

    Exact at both ends: alpha(0) = 1 and sigma(0) = 0, and sigma keeps its relative precision
    near t = 0.

    Args:
        beta_min: beta_0, the noise rate at t = 0, > 0.
        beta_max: beta_1, the noise rate at t = 1, >= beta_min.

    Raises:
        ArgumentError: unless 0 < beta_min <= beta_max.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2021, Appendix C; the rates are those of SRPO (Chen et al., 2024).

    Example:
        >>> from scoreregs import VPSchedule
        >>> alpha, sigma = VPSchedule()(torch.tensor([0.0, 1.0]))
        >>> alpha, sigma
        (tensor([1.0000, 0.0066]), tensor([0.0000, 1.0000]))
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        if not 0 < beta_min <= beta_max < float("inf"):
            raise ArgumentError(
                f"got beta_min={beta_min} and beta_max={beta_max}, "
                "expected 0 < beta_min <= beta_max: the field's values are 0.1 and 20"
            )
        self.beta_min = float(beta_min)
        self.beta_max = float(beta_max)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -t * ((self.beta_max - self.beta_min) * t / 4 + self.beta_min / 2)

    def _rate(self, t: Tensor) -> Tensor:
        """Returns d log alpha / dt, which is -beta(t) / 2."""
        return -(self.beta_min + (self.beta_max - self.beta_min) * t) / 2

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (alpha, sigma) at t in [0, 1] of any shape."""
        log_alpha = self._log_alpha(t)
        return torch.exp(log_alpha), torch.sqrt(-torch.expm1(2 * log_alpha))

    def log_snr(self, t: Tensor) -> Tensor:
        """Returns 2 log(alpha / sigma) at t; infinite at t = 0."""
        log_alpha = self._log_alpha(t)
        return 2 * log_alpha - torch.log(-torch.expm1(2 * log_alpha))

    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (d alpha / dt, d sigma / dt) at t; the second is infinite at t = 0."""
        alpha, sigma = self(t)
        rate = self._rate(t)
        return rate * alpha, -rate * alpha.square() / sigma

    def log_snr_derivative(self, t: Tensor) -> Tensor:
        """Returns d log_snr / dt = -beta(t) / sigma^2 at t; infinite at t = 0."""
        _, sigma = self(t)
        return 2 * self._rate(t) / sigma.square()

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """Returns the t at which the log signal-to-noise ratio is `log_snr`, in closed form.

        Ratios below that of t = 1 give t > 1, where the formulas go on.
        """
        log_snr = as_time(log_snr)
        depth = F.softplus(-log_snr) / 2
        curvature = (self.beta_max - self.beta_min) * depth
        return 2 * depth / (self.beta_min / 2 + torch.sqrt(self.beta_min**2 / 4 + curvature))
