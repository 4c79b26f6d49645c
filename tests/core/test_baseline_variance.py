"""The noise baseline leaves the expectation alone; its effect on the variance is in closed form.

For N(0, 1) under VP the predicted noise at x = 0 is sigma^2 epsilon, so the weighted residual is
-w alpha^2 epsilon with the baseline and w sigma^2 epsilon without: both of mean zero, and of
variances E w^2 alpha^4 and E w^2 sigma^4.
"""

import numpy as np
import pytest
import torch

from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.baselines import BaselineLike
from tests.core.ground_truth import (
    WEIGHTINGS,
    WEIGHTS,
    time_and_noise_nodes,
    time_nodes,
    vp_scales,
)


def closed_form(weight: str) -> dict[str, float]:
    t, share = time_nodes(80)
    alpha, sigma = np.array([vp_scales(float(time)) for time in t]).T
    w = np.array([WEIGHTS[weight](a, s) for a, s in zip(alpha, sigma, strict=True)])
    return {"noise": share @ (w**2 * alpha**4), "none": share @ (w**2 * sigma**4)}


def standard_normal() -> GaussianMixturePrior:
    return GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())


def mean_and_variance(weight: str, baseline: BaselineLike) -> tuple[float, float]:
    t, noise, share = time_and_noise_nodes(80, 10, 1)
    objective = ScoreRegularizedObjective.from_value(
        None, standard_normal(), weighting=WEIGHTINGS[weight], baseline=baseline
    )
    gradient = objective(torch.zeros_like(noise), t=t, noise=noise).gradient[:, 0]
    mean = float(share @ gradient)
    return mean, float(share @ gradient.square()) - mean**2


@pytest.mark.parametrize(
    ("weight", "factor"), [("sigma2", 0.027), ("uniform", 0.28), ("alpha_over_sigma", 39)]
)
def test_factor_is_the_published_one(weight, factor):
    """Below one for sigma^2 and uniform weights, far above for alpha / sigma."""
    variance = closed_form(weight)
    assert variance["noise"] / variance["none"] == pytest.approx(factor, rel=0.02)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_variance_matches_the_closed_form(weight):
    expected = closed_form(weight)
    for baseline in ("noise", "none"):
        mean, variance = mean_and_variance(weight, baseline)
        assert mean == pytest.approx(0, abs=1e-12)
        assert variance == pytest.approx(expected[baseline], rel=1e-9)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_sampled_variance_has_that_factor(weight):
    """Over the objective's own draws, with and without, at the same seed."""
    variances = {}
    for baseline in ("noise", "none"):
        objective = ScoreRegularizedObjective.from_value(
            None,
            standard_normal(),
            weighting=WEIGHTINGS[weight],
            baseline=baseline,
            generator=torch.Generator().manual_seed(0),
        )
        gradient = objective(torch.zeros(200_000, 1, dtype=torch.float64)).gradient
        variances[baseline] = float(gradient.var())
    expected = closed_form(weight)
    factor = variances["noise"] / variances["none"]
    assert factor == pytest.approx(expected["noise"] / expected["none"], rel=0.1)
