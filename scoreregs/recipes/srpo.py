"""SRPO: the objective as it is by default."""

from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior
from scoreregs.recipes.base import regularize

__all__ = ["srpo"]


@named_calls
def srpo(
    value: ValueFunction, prior: ScorePrior, **options: Unpack[ObjectiveOptions]
) -> ScoreRegularizedObjective:
    """Returns score-regularised policy optimisation: the objective as it is by default.

    Args:
        value: Q(x, condition), (batch,), to be maximised.
        prior: the behavior model.
        **options: of the objective, any; `beta` is the paper's temperature.

    References:
        Chen et al., Score Regularized Policy Optimization through Diffusion Behavior, ICLR 2024.
    """
    return regularize("srpo", value, prior, {}, options, fixed=())
