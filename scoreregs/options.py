"""The options of an objective, for whatever passes them on."""

from collections.abc import Callable
from typing import Literal, TypedDict

import torch
from torch import Tensor

from scoreregs.baselines import BaselineLike
from scoreregs.kernel import BetaPlacement, Normalization
from scoreregs.noisers import NoiserLike
from scoreregs.times import TimesLike
from scoreregs.weightings import WeightingLike

__all__ = ["Checking", "Nothing", "ObjectiveOptions", "Reduction", "ValueFunction"]

# Of (x, condition), or of x alone.
ValueFunction = Callable[..., Tensor]
Reduction = Literal["mean", "sum", "none"]
Checking = Literal["first", "always"]


class Nothing(TypedDict):
    """No further keyword arguments; where some are given all the same, the nearest is named."""


class ObjectiveOptions(TypedDict, total=False):
    """The keyword arguments of `ScoreRegularizedObjective`, which documents them."""

    beta: float
    normalize: Normalization | None
    beta_on: BetaPlacement
    weighting: WeightingLike
    baseline: BaselineLike
    times: TimesLike
    noiser: NoiserLike
    draws: int
    reduction: Reduction
    generator: torch.Generator | None
    check: Checking
