"""Robust aggregates against SciPy, by hand and by their coverage."""

import numpy as np
import pytest
from scipy import stats

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.evaluation.statistics import bootstrap_interval, interquartile_mean, mean


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 15, 50])
def test_interquartile_mean_is_the_trimmed_mean(count):
    scores = np.random.default_rng(count).normal(size=(6, count)) ** 3
    expected = stats.trim_mean(scores, 0.25, axis=1)
    np.testing.assert_allclose(interquartile_mean(scores), expected, rtol=1e-12)


def test_interquartile_mean_by_hand():
    scores = np.array([9.0, -1e6, 1.0, 2.0, 3.0, 4.0, 1e6, 0.0])
    assert interquartile_mean(scores) == (1 + 2 + 3 + 4) / 4


def test_every_bootstrap_mean_of_two_runs():
    """Two runs {0, 1} of one task: the mean is 0, 1/2, 1 with probability 1/4, 1/2, 1/4."""
    narrow = bootstrap_interval([[0.0, 1.0]], mean, confidence=0.4)
    wide = bootstrap_interval([[0.0, 1.0]], mean, confidence=0.6)
    assert (narrow.low, narrow.high, narrow.confidence) == (0.5, 0.5, 0.4)
    assert (wide.low, wide.high) == (0.0, 1.0)


def test_percentiles_of_a_mean_are_those_of_a_normal():
    scores = np.random.default_rng(0).normal(size=400)
    found = bootstrap_interval([scores], mean, confidence=0.9)
    half = stats.norm.ppf(0.95) * scores.std() / 20
    expected = scores.mean() - half, scores.mean() + half
    np.testing.assert_allclose((found.low, found.high), expected, atol=0.003)


def test_runs_are_drawn_within_their_task():
    """Tasks far apart, runs alike: without strata the tasks' shares would vary, and the mean."""
    found = bootstrap_interval([[0.0, 0.0, 0.0], [100.0, 100.0]], mean)
    assert (found.low, found.high) == (40.0, 40.0)
    found = bootstrap_interval([[-1.0, 1.0], [100.0, 100.0]], mean)
    assert (found.low, found.high) == (49.5, 50.5)


@pytest.mark.parametrize("statistic", [mean, interquartile_mean])
def test_coverage(statistic):
    """Two tasks of 40 runs: 95 % intervals hold the truth about as often as they say."""
    generator = np.random.default_rng(0)
    found = [
        bootstrap_interval(
            [generator.normal(0, 1, 40), generator.normal(0, 3, 40)],
            statistic,
            repetitions=500,
            seed=i,
        )
        for i in range(600)
    ]
    share = np.mean([interval.low <= 0 <= interval.high for interval in found])
    assert 0.92 <= share <= 0.98


def test_a_seed_gives_the_same_interval():
    scores = np.random.default_rng(0).normal(size=(2, 5))
    first, again = (bootstrap_interval(scores, repetitions=50, seed=3) for _ in range(2))
    assert first == again
    assert first != bootstrap_interval(scores, repetitions=50, seed=4)


@pytest.mark.parametrize(
    ("strata", "options", "words"),
    [
        ([], {}, "at least 2 of each"),
        ([[1.0, 2.0], [3.0]], {}, r"got \[2, 1\] runs"),
        ([[1.0, np.nan]], {}, "not finite"),
        ([[1.0, 2.0]], {"confidence": 1.0}, "confidence=1.0"),
        ([[1.0, 2.0]], {"repetitions": 0}, "repetitions=0"),
    ],
)
def test_what_has_no_interval(strata, options, words):
    with pytest.raises(ArgumentError, match=words):
        bootstrap_interval(strata, **options)
