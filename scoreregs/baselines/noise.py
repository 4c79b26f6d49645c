"""Baselines that are the noise or nothing."""

from torch import Tensor
from typing_extensions import override

from scoreregs.baselines.base import Baseline
from scoreregs.draws import Draw, weigh

__all__ = ["NoBaseline", "NoiseBaseline"]


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


class NoBaseline(Baseline):
    r"""$b = 0$: the gradient is that of the diffused score alone, with that same expectation."""

    @override
    def remainder(self, draw: Draw, log_weight: Tensor) -> Tensor | None:
        return weigh(log_weight, draw.noise)
