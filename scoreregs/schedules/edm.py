"""The schedule of EDM."""

import torch
from torch import Tensor

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules.base import NoiseSchedule, as_time

__all__ = ["EDMSchedule"]


@named_calls
class EDMSchedule(NoiseSchedule):
    r"""The noise levels of Karras et al., the data unscaled.

    $$ \alpha = 1, \qquad \sigma = \Big( \sigma_{\min}^{1/\rho}
       + t\, \big( \sigma_{\max}^{1/\rho} - \sigma_{\min}^{1/\rho} \big) \Big)^\rho $$

    Args:
        sigma_min: the noise at t = 0, in units of the data, > 0.
        sigma_max: the noise at t = 1, > sigma_min.
        rho: how much of the time range small noise levels take, > 0; 1 makes sigma linear.

    Raises:
        ArgumentError: unless 0 < sigma_min < sigma_max and rho > 0.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
        Eq. 5 (there time runs from noise to data).

    Example:
        >>> from scoreregs import EDMSchedule
        >>> EDMSchedule()(torch.tensor([0.0, 0.5, 1.0]))[1]
        tensor([2.0000e-03, 2.5152e+00, 8.0000e+01])
    """

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> None:
        check_numbers(sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
        if not (0 < sigma_min < sigma_max < float("inf") and 0 < rho < float("inf")):
            raise ArgumentError(
                f"got sigma_min={sigma_min}, sigma_max={sigma_max} and rho={rho}, expected "
                "0 < sigma_min < sigma_max and rho > 0: the field's values are 0.002, 80 and 7"
            )
        self.sigma_min = float(sigma_min)
        self.sigma_max = float(sigma_max)
        self.rho = float(rho)
        self._low = self.sigma_min ** (1 / self.rho)
        self._width = self.sigma_max ** (1 / self.rho) - self._low

    def _root(self, t: Tensor) -> Tensor:
        """Returns sigma^(1 / rho), which is linear in t."""
        return self._low + self._width * t

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (alpha, sigma) at t in [0, 1] of any shape."""
        return torch.ones_like(t), self._root(t) ** self.rho

    def log_snr(self, t: Tensor) -> Tensor:
        """Returns 2 log(alpha / sigma) at t, finite at both ends."""
        return -2 * self.rho * torch.log(self._root(t))

    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (d alpha / dt, d sigma / dt) at t."""
        d_sigma = self.rho * self._width * self._root(t) ** (self.rho - 1)
        return torch.zeros_like(t), d_sigma

    def log_snr_derivative(self, t: Tensor) -> Tensor:
        """Returns d log_snr / dt at t."""
        return -2 * self.rho * self._width / self._root(t)

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """Returns the t at which the log signal-to-noise ratio is `log_snr`, in closed form.

        Ratios that the schedule never has give t outside [0, 1], where the formulas go on.
        """
        return (
            torch.exp(-as_time(log_snr, name="log_snr") / (2 * self.rho)) - self._low
        ) / self._width
