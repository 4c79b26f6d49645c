"""The options of an objective, for whatever passes them on."""

from collections.abc import Callable
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from scoreregs.baselines import BaselineLike
from scoreregs.betas import Beta
from scoreregs.kernel import BetaPlacement, Normalization
from scoreregs.noisers import NoiserLike
from scoreregs.times import TimesLike
from scoreregs.weightings import WeightingLike

__all__ = ["ObjectiveOptions", "Reduction", "ValueFunction"]

# Any, so that a critic which is annotated with the condition that it takes is accepted.
ValueFunction = Callable[[Tensor, Any], Tensor]
Reduction = Literal["mean", "sum", "none"]


class ObjectiveOptions(TypedDict, total=False):
    """The keyword arguments of `ScoreRegularizedObjective`, which documents them."""

    beta: float | Beta
    normalize: Normalization | None
    beta_on: BetaPlacement
    weighting: WeightingLike
    baseline: BaselineLike
    times: TimesLike
    noiser: NoiserLike
    draws: int
    members: int
    through_prior: bool
    reduction: Reduction
    generator: torch.Generator | None
