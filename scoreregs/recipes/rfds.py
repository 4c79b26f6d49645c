"""Rectified flow distillation sampling."""

import torch
from torch import Tensor
from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions
from scoreregs.prior import ScorePrior
from scoreregs.recipes.base import distil
from scoreregs.schedules import NoiseLevel

__all__ = ["rfds"]


@named_calls
def rfds(prior: ScorePrior, **options: Unpack[ObjectiveOptions]) -> ScoreRegularizedObjective:
    r"""Returns rectified flow distillation sampling: the residual of the velocity, $\hat u - u$.

    On rectified flow, with alpha = 1 - t and $u = \epsilon - x$; as the weight is
    $1 + \sigma / \alpha$ it means the same for every schedule, and vanishes nowhere.

    Args:
        prior: the flow prior, guided as a rule.
        **options: of the objective.

    References:
        Yang et al., Text-to-Image Rectified Flow as Plug-and-Play Priors, ICLR 2025.
    """

    def weight(level: NoiseLevel) -> Tensor:
        return 1 + torch.exp(-level.bounded_log_snr / 2)

    return distil(
        "rfds", prior, {"weighting": weight}, options, fixed=("weighting", "through_prior")
    )
