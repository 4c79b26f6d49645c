r"""Weightings w(t) of the score residual in Eq. 15.

A weighting is a function of the `NoiseLevel`, where possible of its log-SNR alone, so that it means
the same for every schedule. It gives the logarithm of the weight: a weight that vanishes and a
residual that diverges at the same time have a finite product only when they are multiplied first.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs.schedules import NoiseLevel

__all__ = [
    "AlphaOverSigma",
    "CustomWeighting",
    "Sigma2",
    "Uniform",
    "Weighting",
    "WeightingLike",
    "as_weighting",
]


class Weighting(ABC):
    """A weight w(t) >= 0 of the residual, abstract in its logarithm."""

    @abstractmethod
    def log_weight(self, level: NoiseLevel) -> Tensor:
        """Returns log w, (batch,), at a noise level; -inf where the weight is zero."""

    def __call__(self, level: NoiseLevel) -> Tensor:
        """Returns w, (batch,), at a noise level."""
        return torch.exp(self.log_weight(level))


class Sigma2(Weighting):
    r"""$w = \sigma^2 / (\alpha^2 + \sigma^2)$, which is $\sigma^2$ on VP: the default of SRPO.

    Example:
        >>> from scoreregs import VPSchedule
        >>> Sigma2()(VPSchedule().at(torch.tensor([0.5])))
        tensor([0.9209], dtype=torch.float64)
    """

    def log_weight(self, level: NoiseLevel) -> Tensor:
        """Returns log sigmoid(-log_snr)."""
        return F.logsigmoid(-level.bounded_log_snr)


class Uniform(Weighting):
    """w = 1 at every time."""

    def log_weight(self, level: NoiseLevel) -> Tensor:
        """Returns zeros."""
        return torch.zeros_like(level.log_snr)


class AlphaOverSigma(Weighting):
    r"""$w = \alpha / \sigma$, which weighs the diffused score with alpha; singular at sigma = 0."""

    def log_weight(self, level: NoiseLevel) -> Tensor:
        """Returns log_snr / 2."""
        return level.bounded_log_snr / 2


class CustomWeighting(Weighting):
    """A weighting from a function of the noise level.

    Args:
        function: maps a `NoiseLevel` of (batch,) tensors to weights (batch,), each >= 0.

    Example:
        >>> from scoreregs import VPSchedule
        >>> CustomWeighting(lambda level: level.alpha)(VPSchedule().at(torch.tensor([0.0])))
        tensor([1.], dtype=torch.float64)
    """

    def __init__(self, function: Callable[[NoiseLevel], Tensor]) -> None:
        self.function = function

    def log_weight(self, level: NoiseLevel) -> Tensor:
        """Returns the logarithm of the function at a noise level.

        Raises:
            ArgumentError: where the function returns anything but a tensor of t's shape.
        """
        weight = self.function(level)
        if not isinstance(weight, Tensor) or weight.shape != level.t.shape:
            got = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
            raise ArgumentError(
                f"got {got} from a weighting, expected a tensor of shape {tuple(level.t.shape)}: "
                "return one weight for each time, for instance `level.sigma ** 2`"
            )
        return torch.log(weight.to(level.t.dtype))


_NAMED: dict[str, Weighting] = {
    "sigma2": Sigma2(),
    "uniform": Uniform(),
    "alpha_over_sigma": AlphaOverSigma(),
}

WeightingLike = (
    Literal["sigma2", "uniform", "alpha_over_sigma"] | Weighting | Callable[[NoiseLevel], Tensor]
)


def as_weighting(weighting: WeightingLike) -> Weighting:
    """Returns the weighting of a name, a function of the noise level, or a `Weighting` itself.

    Raises:
        ArgumentError: for any other name or object.

    Example:
        >>> type(as_weighting("sigma2")).__name__
        'Sigma2'
    """
    if isinstance(weighting, Weighting):
        return weighting
    if isinstance(weighting, str) and weighting in _NAMED:
        return _NAMED[weighting]
    if callable(weighting):
        return CustomWeighting(weighting)
    raise ArgumentError(
        f"got weighting={weighting!r}, expected one of {', '.join(map(repr, _NAMED))}, "
        "a Weighting or a function of the noise level"
    )
