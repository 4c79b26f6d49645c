"""The data scale of a linear noise rate, which the VP and the sub-VP schedule share."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs.errors import ArgumentError

__all__ = ["LinearBeta"]


@dataclass(frozen=True)
class LinearBeta:
    r"""$\log \alpha = -\tfrac14 (\beta_1 - \beta_0) t^2 - \tfrac12 \beta_0 t$.

    Attributes:
        minimum: beta_0, the noise rate at t = 0, > 0.
        maximum: beta_1, the noise rate at t = 1, >= minimum.

    Raises:
        ArgumentError: unless 0 < minimum <= maximum.

    Example:
        >>> rate = LinearBeta(0.1, 20.0)
        >>> t = torch.tensor([0.3], dtype=torch.float64)
        >>> rate.t_from_log_alpha(rate.log_alpha(t))
        tensor([0.3000], dtype=torch.float64)
    """

    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        if not 0 < self.minimum <= self.maximum < float("inf"):
            raise ArgumentError(
                f"got beta_min={self.minimum} and beta_max={self.maximum}, "
                "expected 0 < beta_min <= beta_max: the field's values are 0.1 and 20"
            )

    def log_alpha(self, t: Tensor) -> Tensor:
        """Returns log alpha at t."""
        return -t * ((self.maximum - self.minimum) * t / 4 + self.minimum / 2)

    def log_alpha_derivative(self, t: Tensor) -> Tensor:
        """Returns d log alpha / dt, which is -beta(t) / 2."""
        return -(self.minimum + (self.maximum - self.minimum) * t) / 2

    def t_from_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """Returns the t >= 0 at which log alpha is given; it may lie beyond 1."""
        curvature = -log_alpha * (self.maximum - self.minimum)
        return -2 * log_alpha / (self.minimum / 2 + torch.sqrt(self.minimum**2 / 4 + curvature))
