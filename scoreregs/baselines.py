r"""Baselines b, subtracted from the predicted noise in Eq. 15.

A baseline gives what it leaves of the noise, $\epsilon - b$, so that the residual of Eq. 15 is the
native one plus a remainder:

$$ \hat\epsilon - b = (\hat\epsilon - \epsilon) + (\epsilon - b). $$
"""

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor
from typing_extensions import override

from scoreregs.errors import ArgumentError

__all__ = ["Baseline", "BaselineLike", "NoBaseline", "NoiseBaseline", "as_baseline"]


class Baseline(ABC):
    """A baseline, abstract in what it leaves of the noise."""

    @abstractmethod
    def remainder(self, noise: Tensor) -> Tensor | None:
        """Returns epsilon - b, (batch, *event), or None where that is zero."""


class NoiseBaseline(Baseline):
    r"""$b = \epsilon$, the paper's: the expected gradient is unchanged.

    The variance falls or rises with the weighting and the data: it falls where the predicted noise
    follows the noise closely (large sigma), it rises where it does not (small sigma).
    """

    @override
    def remainder(self, noise: Tensor) -> Tensor | None:
        return None


class NoBaseline(Baseline):
    r"""$b = 0$: the gradient is that of the diffused score alone."""

    @override
    def remainder(self, noise: Tensor) -> Tensor | None:
        return noise


_NAMED: dict[str, Baseline] = {"noise": NoiseBaseline(), "none": NoBaseline()}

BaselineLike = Literal["noise", "none"] | Baseline


def as_baseline(baseline: BaselineLike) -> Baseline:
    """Returns the baseline of a name, or a `Baseline` itself.

    Raises:
        ArgumentError: for an unknown name.

    Example:
        >>> type(as_baseline("none")).__name__
        'NoBaseline'
    """
    if isinstance(baseline, Baseline):
        return baseline
    if isinstance(baseline, str) and baseline in _NAMED:
        return _NAMED[baseline]
    raise ArgumentError(
        f"got baseline={baseline!r}, expected one of {', '.join(map(repr, _NAMED))} or a Baseline"
    )
