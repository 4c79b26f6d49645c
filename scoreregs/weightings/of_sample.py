"""Weightings that depend on the sample and on what the prior makes of it."""

from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_function, named_calls
from scoreregs.draws import Draw
from scoreregs.schedules import NoiseLevel
from scoreregs.weightings.base import Weighting
from scoreregs.weightings.of_time import checked_weight

__all__ = ["DMDWeighting", "SampleWeighting"]


@named_calls
class DMDWeighting(Weighting):
    r"""$w = 1 / \operatorname{mean} |\hat\epsilon - \epsilon|$, the normaliser of DMD.

    The mean is over the event. It makes the residual between two priors
    $(\hat x_b - \hat x) / \operatorname{mean} |x - \hat x|$, on every schedule. As a weight it
    depends on the noise, so the noise baseline changes the expected gradient.

    References:
        Yin et al., One-step Diffusion with Distribution Matching Distillation, CVPR 2024,
        whose Eq. 8 has a further factor alpha, which its algorithm leaves out.
    """

    @override
    def log_weight_of(self, draw: Draw) -> Tensor:
        magnitude = draw.difference.abs().flatten(1).mean(1)
        return -(torch.log(magnitude).to(draw.log_factor.dtype) + draw.log_factor)


@named_calls
class SampleWeighting(Weighting):
    r"""A weighting from a function $w(t, x, \hat x)$ of level, sample and predicted sample.

    A weight that depends on $\hat x$ depends on the noise, so that the noise baseline changes the
    expected gradient.

    Args:
        function: maps a `NoiseLevel` of (batch,) tensors and two tensors (batch, *event) to
            weights (batch,), each >= 0.

    Example:
        >>> from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> weighting = SampleWeighting(lambda level, x, denoised: x[:, 0] ** 2)
        >>> objective = ScoreRegularizedObjective.from_value(None, prior, weighting=weighting)
        >>> objective(torch.zeros(1, 1)).gradient.abs()
        tensor([[0.]])
    """

    def __init__(self, function: Callable[[NoiseLevel, Tensor, Tensor], Tensor]) -> None:
        check_function("function", function, "(level, x, denoised)")
        self.function = function

    @override
    def log_weight_of(self, draw: Draw) -> Tensor:
        """Returns the logarithm of the function.

        Raises:
            ArgumentError: where the function returns anything but a tensor of t's shape.
        """
        weight = checked_weight(self.function(draw.level, draw.x, draw.denoised), draw.level)
        return torch.log(weight.to(draw.level.t.dtype))
