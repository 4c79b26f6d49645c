"""Two steps timed in turn: the ratio of the pairs, its interval, and a limit that is asserted.

What else the machine does slows both of a pair, so that their ratio says more than two medians.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

__all__ = ["Paired", "assert_within", "time_in_turn"]

TRIES = 3
Step = Callable[[], Any]


@dataclass(frozen=True)
class Paired:
    """What a step takes beside another.

    Attributes:
        seconds: of each, the median.
        ratio: of the first to the second, the median over pairs.
        interval: of that median, at a confidence of 95 %.
        excess: seconds that the first takes longer, the median over pairs.
    """

    seconds: tuple[float, float]
    ratio: float
    interval: tuple[float, float]
    excess: float

    @classmethod
    def of(cls, first: list[float], second: list[float]) -> "Paired":
        """Returns the comparison of two lists of seconds, pair by pair.

        Example:
            >>> Paired.of([3.0, 2.0, 4.0], [2.0, 2.0, 2.0]).ratio
            1.5
        """
        ratios = sorted(x / y for x, y in zip(first, second, strict=True))
        # Ranks between which the median lies: binomial, by its normal approximation.
        half = 1.96 * len(ratios) ** 0.5 / 2
        low, high = (round(len(ratios) / 2 + sign * half) for sign in (-1, 1))
        return cls(
            (median(first), median(second)),
            median(ratios),
            (ratios[max(low - 1, 0)], ratios[min(high, len(ratios) - 1)]),
            median(x - y for x, y in zip(first, second, strict=True)),
        )


def time_in_turn(first: Step, second: Step, rounds: int, warm_up: int = 10) -> Paired:
    """Returns the seconds of two steps, one after the other, each first in half of the pairs."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(-warm_up, rounds):
        order = (0, 1) if number % 2 else (1, 0)
        for which in order:
            start = perf_counter()
            (first, second)[which]()
            took = perf_counter() - start
            if number >= 0:
                seconds[which].append(took)
    return Paired.of(*seconds)


def assert_within(
    first: Step, second: Step, rounds: int, within: Callable[[Paired], bool], limit: str
) -> list[Paired]:
    """Returns the tries up to the first that is within a limit.

    Raises:
        AssertionError: where it is exceeded in three of three.
    """
    tries: list[Paired] = []
    while len(tries) < TRIES:
        tries.append(time_in_turn(first, second, rounds))
        if within(tries[-1]):
            return tries
    said = ", ".join(
        f"{x.ratio:.4f} ({x.interval[0]:.4f} to {x.interval[1]:.4f}), {1e6 * x.excess:.1f} us more"
        for x in tries
    )
    raise AssertionError(f"beyond {limit} in {TRIES} of {TRIES} tries: {said}")
