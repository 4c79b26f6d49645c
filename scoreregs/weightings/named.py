"""Weightings by name."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from scoreregs.arguments import named_calls, nearest
from scoreregs.errors import ArgumentError
from scoreregs.schedules import NoiseLevel
from scoreregs.weightings.base import Weighting
from scoreregs.weightings.of_sample import DMDWeighting
from scoreregs.weightings.of_time import (
    SNR,
    AlphaOverSigma,
    CustomWeighting,
    MinSNR,
    Sigma2,
    SigmaOverAlpha,
    Uniform,
)

__all__ = ["WeightingLike", "WeightingName", "as_weighting"]

_NAMED: dict[str, Weighting] = {
    "sigma2": Sigma2(),
    "uniform": Uniform(),
    "alpha_over_sigma": AlphaOverSigma(),
    "sigma_over_alpha": SigmaOverAlpha(),
    "snr": SNR(),
    "min_snr": MinSNR(),
    "dmd": DMDWeighting(),
}

WeightingName = Literal[
    "sigma2", "uniform", "alpha_over_sigma", "sigma_over_alpha", "snr", "min_snr", "dmd"
]
WeightingLike = WeightingName | Weighting | Callable[[NoiseLevel], Tensor]


@named_calls
def as_weighting(weighting: WeightingLike) -> Weighting:
    """Returns the weighting of a name, a function of the noise level, or a `Weighting` itself.

    Raises:
        ArgumentError: for any other name or object.

    Example:
        >>> type(as_weighting("sigma2")).__name__
        'Sigma2'
    """
    if isinstance(weighting, Weighting):
        return weighting
    if isinstance(weighting, str) and weighting in _NAMED:
        return _NAMED[weighting]
    if callable(weighting) and not isinstance(weighting, type):
        return CustomWeighting(weighting)
    raise ArgumentError(
        f"got weighting={weighting!r}, expected one of {', '.join(map(repr, _NAMED))}, "
        "a Weighting or a function of the noise level"
        f"{nearest(weighting, _NAMED)}"
    )
