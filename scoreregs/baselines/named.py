"""Baselines by name."""

from collections.abc import Callable
from typing import Literal

from scoreregs.arguments import named_calls, nearest
from scoreregs.baselines.base import Baseline
from scoreregs.baselines.noise import NoBaseline, NoiseBaseline
from scoreregs.baselines.optimal import OptimalNoiseBaseline
from scoreregs.errors import ArgumentError

__all__ = ["BaselineLike", "BaselineName", "as_baseline"]

_NAMED: dict[str, Callable[[], Baseline]] = {
    "noise": NoiseBaseline,
    "none": NoBaseline,
    "optimal_noise": OptimalNoiseBaseline,
}

BaselineName = Literal["noise", "none", "optimal_noise"]
BaselineLike = BaselineName | Baseline


@named_calls
def as_baseline(baseline: BaselineLike) -> Baseline:
    """Returns a baseline of a name, or a `Baseline` itself.

    Raises:
        ArgumentError: for an unknown name.

    Example:
        >>> type(as_baseline("none")).__name__
        'NoBaseline'
    """
    if isinstance(baseline, Baseline):
        return baseline
    if isinstance(baseline, str) and baseline in _NAMED:
        return _NAMED[baseline]()
    raise ArgumentError(
        f"got baseline={baseline!r}, expected one of {', '.join(map(repr, _NAMED))} or a Baseline"
        f"{nearest(baseline, _NAMED)}"
    )
