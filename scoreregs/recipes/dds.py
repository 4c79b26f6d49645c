"""The delta denoising score."""

from torch import Tensor
from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.baselines import ReferenceBaseline
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions
from scoreregs.prior import ScorePrior
from scoreregs.recipes.base import distil
from scoreregs.trees import Condition

__all__ = ["dds"]


@named_calls
def dds(
    prior: ScorePrior,
    reference: Tensor,
    condition: Condition,
    **options: Unpack[ObjectiveOptions],
) -> ScoreRegularizedObjective:
    """Returns the delta denoising score, which edits a reference.

    Args:
        prior: the conditional prior, guided as a rule.
        reference: what is edited, a batch of 1 or the objective's, where x starts.
        condition: what the reference shows; the objective is called with what x shall show.
        **options: of the objective.

    References:
        Hertz et al., Delta Denoising Score, ICCV 2023.
    """
    baseline = ReferenceBaseline(reference, condition)
    return distil("dds", prior, {"weighting": "uniform", "baseline": baseline}, options)
