"""Aggregates of scores that survive few seeds, with intervals (Agarwal et al., 2021).

Scores are given by stratum: one sequence of runs for each task. A bootstrap draws runs with
replacement within each stratum, so that every task keeps its weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scoreregs.errors import ArgumentError

__all__ = ["Interval", "Statistic", "bootstrap_interval", "interquartile_mean", "mean"]

Statistic = Callable[[np.ndarray], np.ndarray]
"""Scores (repetitions, n) to one number for each repetition, shape (repetitions,)."""


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        confidence: Share of intervals like this one that hold the true value, for many samples.
    """

    low: float
    high: float
    confidence: float


def mean(scores: np.ndarray) -> np.ndarray:
    """Mean over the last axis."""
    return scores.mean(axis=-1)


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is left without the lowest and the highest quarter.

    floor(n / 4) scores are dropped at each end: the 25 % trimmed mean, over runs and tasks alike.

    Args:
        scores: Shape (..., n) with n at least 1.

    Example:
        >>> float(interquartile_mean(np.array([0.0, 50.0, 60.0, 1000.0])))
        55.0
    """
    dropped = scores.shape[-1] // 4
    ordered = np.sort(scores, axis=-1)
    return ordered[..., dropped : scores.shape[-1] - dropped].mean(axis=-1)


def bootstrap_interval(
    strata: Sequence[Sequence[float] | np.ndarray] | np.ndarray,
    statistic: Statistic = interquartile_mean,
    *,
    confidence: float = 0.95,
    repetitions: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Stratified percentile bootstrap interval of a statistic of all scores.

    Few runs make it too short: of five normal scores, an interval of 95 % holds the true mean about
    85 times in 100.

    Args:
        strata: Scores of each task's runs, at least two of each: sequences whose lengths may
            differ, or an array (tasks, runs).
        statistic: What to bound.
        confidence: In (0, 1).
        repetitions: Bootstrap samples.
        seed: Of the draws; the same scores and seed give the same interval.

    Raises:
        ArgumentError: A stratum has fewer than two runs, a score is not finite, or a number is out
            of its range.

    Example:
        >>> scores = [[90.0, 95.0, 100.0], [40.0, 60.0, 50.0]]
        >>> found = bootstrap_interval(scores)
        >>> round(found.low, 1), round(found.high, 1)
        (67.5, 78.8)
    """
    if not 0 < confidence < 1:
        raise ArgumentError(f"got confidence={confidence}, expected a share above 0 and below 1")
    if repetitions < 1:
        raise ArgumentError(f"got repetitions={repetitions}, expected at least 1")
    arrays = [np.asarray(stratum, dtype=float) for stratum in strata]
    sizes = [array.size for array in arrays]
    if not arrays or min(sizes) < 2:
        raise ArgumentError(
            f"got {sizes} runs of the tasks, expected at least 2 of each: train further seeds"
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise ArgumentError("got scores that are not finite, expected finite ones: leave them out")
    generator = np.random.default_rng(seed)
    draws = [
        array[generator.integers(array.size, size=(repetitions, array.size))] for array in arrays
    ]
    tail = 50 * (1 - confidence)
    low, high = np.percentile(statistic(np.concatenate(draws, axis=1)), [tail, 100 - tail])
    return Interval(float(low), float(high), confidence)
