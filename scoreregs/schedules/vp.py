"""The variance-preserving schedule."""

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.schedules.base import NoiseLevel, NoiseSchedule, as_time, check_time
from scoreregs.schedules.linear_beta import LinearBeta

__all__ = ["VPSchedule"]


@named_calls
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
        check_numbers(beta_min=beta_min, beta_max=beta_max)
        self.beta = LinearBeta(float(beta_min), float(beta_max))
        self.beta_min, self.beta_max = self.beta.minimum, self.beta.maximum

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (alpha, sigma) at t in [0, 1] of any shape."""
        log_alpha = self.beta.log_alpha(t)
        return torch.exp(log_alpha), torch.sqrt(-torch.expm1(2 * log_alpha))

    @override
    def at(self, t: float | Tensor) -> NoiseLevel:
        """Returns the noise level at times t of any shape, in float64: one exponent for all."""
        check_time(t)
        t = as_time(t)
        log_alpha = self.beta.log_alpha(t)
        twice = 2 * log_alpha
        variance = -torch.expm1(twice)
        log_snr = twice - torch.log(variance)
        return NoiseLevel(t, torch.exp(log_alpha), torch.sqrt(variance), log_snr)

    def log_snr(self, t: Tensor) -> Tensor:
        """Returns 2 log(alpha / sigma) at t; infinite at t = 0."""
        log_alpha = self.beta.log_alpha(t)
        return 2 * log_alpha - torch.log(-torch.expm1(2 * log_alpha))

    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (d alpha / dt, d sigma / dt) at t; the second is infinite at t = 0."""
        alpha, sigma = self(t)
        rate = self.beta.log_alpha_derivative(t)
        return rate * alpha, -rate * alpha.square() / sigma

    def log_snr_derivative(self, t: Tensor) -> Tensor:
        """Returns d log_snr / dt = -beta(t) / sigma^2 at t; infinite at t = 0."""
        _, sigma = self(t)
        return 2 * self.beta.log_alpha_derivative(t) / sigma.square()

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """Returns the t at which the log signal-to-noise ratio is `log_snr`, in closed form.

        Ratios below that of t = 1 give t > 1, where the formulas go on.
        """
        return self.beta.t_from_log_alpha(-F.softplus(-as_time(log_snr, name="log_snr")) / 2)
