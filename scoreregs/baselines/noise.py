"""Baselines that are the noise or nothing."""

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs.baselines.base import Baseline
from scoreregs.draws import Draw, weigh
from scoreregs.predictions import expand

__all__ = ["NoBaseline", "NoiseBaseline"]


@named_calls
class NoiseBaseline(Baseline):
    r"""$b = \epsilon$, the paper's: the expected gradient is unchanged.

    The variance falls or rises with the weighting and the data: it falls where the predicted noise
    follows the noise closely (large sigma), it rises where it does not (small sigma). Unchanged is
    the expectation over standard normal noise, under a weight that does not depend on it; for an
    inversion b is its target.
    """

    @override
    def remainder(self, draw: Draw, log_weight: Tensor) -> Tensor | None:
        if draw.target is draw.noise:
            return None
        return weigh(log_weight, draw.noise - draw.target)

    @override
    def through_prior(self, draw: Draw, log_weight: Tensor) -> Tensor:
        r"""Returns the gradient of the denoising loss, weighted so that Eq. 15 is without Jacobian.

        $$ \nabla_x\, \tfrac12 w \tfrac\sigma\alpha \| \hat\epsilon - \epsilon \|^2
           = \sigma \Big( \frac{\partial \hat\epsilon}{\partial x_t} \Big)^{\!\top}
             w (\hat\epsilon - \epsilon)
           = \Big( 1 - \alpha \frac{\partial \hat x}{\partial x_t} \Big)^{\!\top}
             w (\hat\epsilon - \epsilon) $$
        """
        with torch.no_grad():
            remainder = self.remainder(draw, log_weight)
            residual = draw.residual(log_weight)
            residual = residual if remainder is None else residual + remainder
            pulled = expand(draw.level.sigma, residual) * residual
        with torch.enable_grad():
            predicted = draw.epsilon
        return torch.autograd.grad(predicted, draw.x_t, pulled)[0]


@named_calls
class NoBaseline(Baseline):
    r"""$b = 0$: the gradient is that of the diffused score alone, with that same expectation."""

    @override
    def remainder(self, draw: Draw, log_weight: Tensor) -> Tensor | None:
        return weigh(log_weight, draw.noise)
