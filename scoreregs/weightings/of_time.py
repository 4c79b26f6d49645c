"""Weightings that are functions of the time alone."""

import math
from collections.abc import Callable
from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import accepts, check_function, check_positive, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules import NoiseLevel
from scoreregs.weightings.base import TimeWeighting

__all__ = [
    "SNR",
    "AlphaOverSigma",
    "CustomWeighting",
    "MinSNR",
    "Sigma2",
    "SigmaOverAlpha",
    "Uniform",
    "checked_weight",
]


@named_calls
class Sigma2(TimeWeighting):
    r"""$w = \sigma^2 / (\alpha^2 + \sigma^2)$, which is $\sigma^2$ on VP: the default of SRPO.

    Example:
        >>> from scoreregs import VPSchedule
        >>> Sigma2()(VPSchedule().at(torch.tensor([0.5])))
        tensor([0.9209], dtype=torch.float64)
    """

    @override
    def log_weight(self, level: NoiseLevel) -> Tensor:
        return F.logsigmoid(-level.log_snr)


@named_calls
class Uniform(TimeWeighting):
    """w = 1 at every time."""

    @override
    def log_weight(self, level: NoiseLevel) -> Tensor:
        return torch.zeros_like(level.log_snr)


@named_calls
class AlphaOverSigma(TimeWeighting):
    r"""$w = \alpha / \sigma$, which weighs the diffused score with alpha; singular at sigma = 0."""

    @override
    def log_weight(self, level: NoiseLevel) -> Tensor:
        return level.bounded_log_snr / 2


@named_calls
class SigmaOverAlpha(TimeWeighting):
    r"""$w = \sigma / \alpha$, which makes the residual $x - \hat x$; singular at alpha = 0.

    References:
        Mardani et al., A Variational Perspective on Solving Inverse Problems with Diffusion Models,
        ICLR 2024 (RED-diff).
    """

    @override
    def log_weight(self, level: NoiseLevel) -> Tensor:
        return -level.bounded_log_snr / 2


@named_calls
class SNR(TimeWeighting):
    r"""$w = \alpha^2 / \sigma^2$, the signal-to-noise ratio; singular at sigma = 0."""

    @override
    def log_weight(self, level: NoiseLevel) -> Tensor:
        return level.bounded_log_snr


@named_calls
class MinSNR(TimeWeighting):
    r"""$w = \min(\mathrm{SNR}, \gamma) / \mathrm{SNR}$, min-SNR's weight of the noise prediction.

    Args:
        gamma: the ratio from which on the weight is one, > 0.

    Raises:
        ArgumentError: unless gamma is positive and finite.

    References:
        Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, ICCV 2023.

    Example:
        >>> from scoreregs import RectifiedFlowSchedule
        >>> MinSNR()(RectifiedFlowSchedule().at(torch.tensor([0.1, 0.5])))
        tensor([0.0617, 1.0000], dtype=torch.float64)
    """

    def __init__(self, gamma: float = 5.0) -> None:
        check_positive(gamma=gamma)
        self.gamma = gamma

    @override
    def log_weight(self, level: NoiseLevel) -> Tensor:
        return (math.log(self.gamma) - level.bounded_log_snr).clamp(max=0)


@named_calls
class CustomWeighting(TimeWeighting):
    """A weighting from a function of the noise level.

    Args:
        function: maps a `NoiseLevel` of (batch,) tensors to weights (batch,), each >= 0.

    Example:
        >>> from scoreregs import VPSchedule
        >>> CustomWeighting(lambda level: level.alpha)(VPSchedule().at(torch.tensor([0.0])))
        tensor([1.], dtype=torch.float64)
    """

    def __init__(self, function: Callable[[NoiseLevel], Tensor]) -> None:
        check_function("function", function, "the NoiseLevel")
        if accepts(function, 1) is False:
            raise ArgumentError(
                "got a weighting that does not take the NoiseLevel alone, expected a function of "
                "it, for instance `lambda level: level.sigma ** 2`"
            )
        with suppress(RuntimeError):  # as of a table on another device
            _try(function)
        self.function = function

    @override
    def log_weight(self, level: NoiseLevel) -> Tensor:
        """Returns the logarithm of the function at a noise level.

        Raises:
            ArgumentError: where the function returns anything but a tensor of t's shape.
        """
        weight = checked_weight(self.function(level), level)
        return torch.log(weight.to(level.t.dtype))


def _try(function: Callable[[NoiseLevel], Tensor]) -> None:
    """Raises `ArgumentError` where a function is of something else than a `NoiseLevel`."""
    half = torch.tensor([0.5], dtype=torch.float64)
    try:
        function(NoiseLevel(half, half, half, 0 * half))
    except (AttributeError, TypeError) as error:
        raise ArgumentError(
            f"got a weighting that raised {type(error).__name__} ({error}), expected a function of "
            "the NoiseLevel, which has t, alpha, sigma and log_snr: for instance "
            "`lambda level: level.t ** 2`"
        ) from error


def checked_weight(weight: object, level: NoiseLevel) -> Tensor:
    """Returns what a function gave as weights.

    Raises:
        ArgumentError: where it is anything but a tensor of t's shape.
    """
    if not isinstance(weight, Tensor) or weight.shape != level.t.shape:
        got = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise ArgumentError(
            f"got {got} from a weighting, expected a tensor of shape {tuple(level.t.shape)}: "
            "return one weight for each time, for instance `level.sigma ** 2`"
        )
    return weight
