"""Noisers by name."""

from typing import Literal

from scoreregs.arguments import named_calls, nearest
from scoreregs.errors import ArgumentError
from scoreregs.noisers.base import Noiser
from scoreregs.noisers.gaussian import AntitheticNoise, IndependentNoise

__all__ = ["NoiserLike", "as_noiser"]

_NAMED: dict[str, Noiser] = {"independent": IndependentNoise(), "antithetic": AntitheticNoise()}

NoiserLike = Literal["independent", "antithetic"] | Noiser


@named_calls
def as_noiser(noiser: NoiserLike) -> Noiser:
    """Returns the noiser of a name, or a `Noiser` itself.

    Raises:
        ArgumentError: for an unknown name.

    Example:
        >>> type(as_noiser("antithetic")).__name__
        'AntitheticNoise'
    """
    if isinstance(noiser, Noiser):
        return noiser
    if isinstance(noiser, str) and noiser in _NAMED:
        return _NAMED[noiser]
    raise ArgumentError(
        f"got noiser={noiser!r}, expected one of {', '.join(map(repr, _NAMED))} or a Noiser"
        f"{nearest(noiser, _NAMED)}"
    )
