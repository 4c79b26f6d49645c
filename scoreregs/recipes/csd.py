"""Classifier score distillation."""

from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.baselines import PriorBaseline
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions
from scoreregs.prior import ScorePrior
from scoreregs.priors.guided import check_null
from scoreregs.recipes.base import distil
from scoreregs.trees import Condition

__all__ = ["csd"]


@named_calls
def csd(
    prior: ScorePrior, null: Condition, **options: Unpack[ObjectiveOptions]
) -> ScoreRegularizedObjective:
    """Returns classifier score distillation: the guidance term alone.

    Args:
        prior: the conditional prior.
        null: the null or a negative condition, a batch of 1 or the objective's.
        **options: of the objective.

    References:
        Yu et al., Text-to-3D with Classifier Score Distillation, ICLR 2024.
    """
    check_null("null", null)
    return distil("csd", prior, {"baseline": PriorBaseline(prior, null)}, options)
