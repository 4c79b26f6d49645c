"""Score Jacobian chaining."""

from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions
from scoreregs.prior import ScorePrior
from scoreregs.recipes.base import distil

__all__ = ["sjc"]


@named_calls
def sjc(prior: ScorePrior, **options: Unpack[ObjectiveOptions]) -> ScoreRegularizedObjective:
    """Returns score Jacobian chaining, whose residual is the same under every schedule.

    Args:
        prior: the prior; what the paper does on VE follows from the log-SNR alone.
        **options: of the objective; `baseline="none"` is the paper's without variance reduction.

    References:
        Wang et al., Score Jacobian Chaining: Lifting Pretrained 2D Diffusion Models for 3D
        Generation, CVPR 2023.
    """
    return distil(
        "sjc", prior, {"weighting": "uniform"}, options, fixed=("weighting", "through_prior")
    )
