"""The sub-variance-preserving schedule."""

import torch
from torch import Tensor

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.schedules.base import NoiseSchedule, as_time
from scoreregs.schedules.linear_beta import LinearBeta

__all__ = ["SubVPSchedule"]


@named_calls
class SubVPSchedule(NoiseSchedule):
    r"""The sub-variance-preserving schedule: VP's alpha with the square of VP's sigma.

    $$ \log \alpha = -\tfrac14 (\beta_1 - \beta_0) t^2 - \tfrac12 \beta_0 t, \qquad
       \sigma = 1 - \alpha^2 $$

    Here alpha^2 + sigma^2 is less than one in between. Exact at t = 0: alpha = 1 and sigma = 0.

    Args:
        beta_min: beta_0, the noise rate at t = 0, > 0.
        beta_max: beta_1, the noise rate at t = 1, >= beta_min.

    Raises:
        ArgumentError: unless 0 < beta_min <= beta_max.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2021, Section 3.4 and Appendix C.

    Example:
        >>> from scoreregs import SubVPSchedule
        >>> alpha, sigma = SubVPSchedule()(torch.tensor([0.0, 1.0]))
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
        return torch.exp(log_alpha), -torch.expm1(2 * log_alpha)

    def log_snr(self, t: Tensor) -> Tensor:
        """Returns 2 log(alpha / sigma) at t; infinite at t = 0."""
        log_alpha = self.beta.log_alpha(t)
        return 2 * (log_alpha - torch.log(-torch.expm1(2 * log_alpha)))

    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (d alpha / dt, d sigma / dt) at t, finite at both ends."""
        alpha = torch.exp(self.beta.log_alpha(t))
        rate = self.beta.log_alpha_derivative(t)
        return rate * alpha, -2 * rate * alpha.square()

    def log_snr_derivative(self, t: Tensor) -> Tensor:
        """Returns d log_snr / dt = -beta(t) (1 + alpha^2) / sigma at t; infinite at t = 0."""
        alpha, sigma = self(t)
        return 2 * self.beta.log_alpha_derivative(t) * (1 + alpha.square()) / sigma

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """Returns the t at which the log signal-to-noise ratio is `log_snr`, in closed form.

        Ratios below that of t = 1 give t > 1, where the formulas go on.
        """
        # sigma / alpha = 1 / alpha - alpha = 2 sinh(-log alpha)
        return self.beta.t_from_log_alpha(
            -torch.asinh(torch.exp(-as_time(log_snr, name="log_snr") / 2) / 2)
        )
