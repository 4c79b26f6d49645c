"""A pattern search over the scale and the shift of data."""

import math
from collections.abc import Callable, Sequence

__all__ = ["least_place"]

# A search takes some ten.
_ROUNDS = 40


def least_place(
    scores: Callable[[Sequence[tuple[float, float]]], list[float]],
    at: tuple[float, float],
    deviation: float,
    steps: tuple[float, float],
) -> tuple[float, float]:
    """Returns the affine map of least score, as its scale and where it takes the data's mean.

    It ends: a round finds less or halves the step, and there are at most `_ROUNDS`, for a score
    that falls for ever as the scale grows.

    Args:
        scores: of several maps.
        at: where to begin.
        deviation: of the data.
        steps: the first and the last step, of the logarithm of the scale and of a deviation.
    """
    (least,), (step, finest) = scores([at]), steps
    for _ in range(_ROUNDS):
        unit = step * abs(at[0]) * deviation
        around = [
            (at[0] * math.exp(step), at[1]),
            (at[0] * math.exp(-step), at[1]),
            (at[0], at[1] + unit),
            (at[0], at[1] - unit),
        ]
        found, place = min(zip(scores(around), around, strict=True))
        if found < least:
            least, at = found, place
        elif step > 1.5 * finest:
            step /= 2
        else:
            break
    return at
