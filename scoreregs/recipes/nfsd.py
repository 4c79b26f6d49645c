"""Noise-free score distillation."""

from typing_extensions import Unpack

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions
from scoreregs.prior import ScorePrior
from scoreregs.priors.combined import CombinedPrior, Term
from scoreregs.priors.guided import check_coefficient, check_null
from scoreregs.recipes.base import distil
from scoreregs.trees import Condition

__all__ = ["nfsd"]


@named_calls
def nfsd(
    prior: ScorePrior,
    null: Condition,
    negative: Condition,
    *,
    scale: float = 7.5,
    **options: Unpack[ObjectiveOptions],
) -> ScoreRegularizedObjective:
    """Returns noise-free score distillation: the prior's part that is no noise, and guidance.

    Args:
        prior: the conditional prior.
        null: the null condition, a batch of 1 or the objective's.
        negative: the condition of bad samples, likewise; subtracted from t = .2 on.
        scale: s of the guidance.
        **options: of the objective.

    References:
        Katzir et al., Noise-Free Score Distillation, ICLR 2024.
    """
    check_numbers(scale=scale)
    check_coefficient("scale", scale)
    check_null("null", null)
    check_null("negative", negative)
    parts = CombinedPrior(
        [
            Term(prior, scale),
            Term(prior, 1 - scale, null),
            Term(prior, lambda level: -(level.t >= 0.2).to(level.t.dtype), negative),
        ]
    )
    return distil("nfsd", parts, {"baseline": "none"}, options)
