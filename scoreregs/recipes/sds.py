"""Score distillation sampling."""

from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions
from scoreregs.prior import ScorePrior
from scoreregs.recipes.base import distil

__all__ = ["sds"]


@named_calls
def sds(prior: ScorePrior, **options: Unpack[ObjectiveOptions]) -> ScoreRegularizedObjective:
    """Returns score distillation sampling.

    Args:
        prior: the prior, guided as a rule: `GuidedPrior(prior, scale=100.0, null=null)`.
        **options: of the objective.

    References:
        Poole et al., DreamFusion: Text-to-3D using 2D Diffusion, ICLR 2023.

    Example:
        >>> import torch
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> x = torch.ones(4, 1, requires_grad=True)
        >>> sds(prior)(x).loss.backward()
    """
    return distil("sds", prior, {"weighting": "sigma2"}, options)
