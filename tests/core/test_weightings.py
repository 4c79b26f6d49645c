"""Every weighting is its formula, on every kind of schedule."""

import math

import pytest
import torch
from torch import Tensor

from scoreregs import (
    EDMSchedule,
    NetworkPrior,
    RectifiedFlowSchedule,
    ScoreRegularizedObjective,
    VPSchedule,
)
from scoreregs.baselines import NoBaseline, NoiseBaseline, PriorBaseline
from scoreregs.errors import ArgumentError, ScoreRegsError, SingularTimeError
from scoreregs.kernel import weighted_residual
from scoreregs.weightings import DMDWeighting, MinSNR, SampleWeighting, as_weighting
from scoreregs.weightings.named import _NAMED
from tests.core.gaussians import conditional_gaussian, denoised, epsilon, scales
from tests.core.ground_truth import MIXTURES, noise_nodes

T = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
GENERATOR = torch.Generator().manual_seed(0)
X, C, NOISE = (torch.randn(7, 3, generator=GENERATOR, dtype=torch.float64) for _ in range(3))

# Of the ratio s = sigma / alpha alone: a weight means the same under every schedule.
OF_TIME = {
    "sigma2": ("sigma2", lambda s: s**2 / (1 + s**2)),
    "uniform": ("uniform", lambda s: torch.ones_like(s)),
    "alpha_over_sigma": ("alpha_over_sigma", lambda s: 1 / s),
    "sigma_over_alpha": ("sigma_over_alpha", lambda s: s),
    "snr": ("snr", lambda s: s**-2),
    "min_snr": ("min_snr", lambda s: torch.minimum(s**-2, 5 * torch.ones_like(s)) * s**2),
    "min_snr of 1": (MinSNR(1.0), lambda s: torch.minimum(s**-2, torch.ones_like(s)) * s**2),
    "callable": (lambda level: level.sigma / level.alpha + 1, lambda s: s + 1),
}
SCHEDULES = [VPSchedule(), RectifiedFlowSchedule(), EDMSchedule()]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(("weighting", "formula"), OF_TIME.values(), ids=list(OF_TIME))
def test_weighting_of_time(weighting, formula, schedule):
    alpha, sigma = scales(T, schedule)
    c = torch.zeros(1, 3, dtype=torch.float64)
    residual = epsilon(alpha * X + sigma * NOISE, c, alpha, sigma) - NOISE
    prior, condition = conditional_gaussian(schedule), torch.zeros_like(X)
    for baseline, rest in ((NoiseBaseline(), 0 * NOISE), (NoBaseline(), NOISE)):
        actual = weighted_residual(prior, X, condition, T, NOISE, as_weighting(weighting), baseline)
        torch.testing.assert_close(
            actual, formula(sigma / alpha) * (residual + rest), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_weighting_of_sample(schedule, draws):
    weighting = SampleWeighting(lambda level, x, d: level.sigma * x[:, 0] ** 2 + d.square().sum(1))
    alpha, sigma = scales(T, schedule)
    x_t = alpha * X + sigma * NOISE
    w = sigma * X[:, :1] ** 2 + denoised(x_t, C, alpha, sigma).square().sum(1, keepdim=True)
    expected = w * (epsilon(x_t, C, alpha, sigma) - NOISE)
    objective = ScoreRegularizedObjective.from_value(
        None, conditional_gaussian(schedule), weighting=weighting
    )
    actual = objective(X, C, t=T.expand(draws, -1), noise=NOISE.expand(draws, -1, -1)).gradient
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_dmd(schedule):
    """(x_b - x_hat) / mean |x - x_hat|, in the predicted samples of the two priors."""
    alpha, sigma = scales(T, schedule)
    x_t = alpha * X + sigma * NOISE
    real, fake = (denoised(x_t, c, alpha, sigma) for c in (C, 1 - C))
    expected = (fake - real) / (X - real).abs().mean(1, keepdim=True)
    prior = conditional_gaussian(schedule)
    actual = weighted_residual(
        prior, X, C, T, NOISE, DMDWeighting(), PriorBaseline(prior, condition=1 - C)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-12)


def test_dmd_keeps_a_singular_residual_finite():
    """At sigma = 0 the residual of a predicted sample is infinite, and its normaliser alike."""
    prior = NetworkPrior(lambda x_t, t, condition: 0.9 * x_t, VPSchedule(), "sample")
    x = X.float()
    residual = weighted_residual(
        prior, x, None, torch.zeros(7), NOISE.float(), DMDWeighting(), NoiseBaseline()
    )
    torch.testing.assert_close(residual, x / x.abs().mean(1, keepdim=True))


def test_a_weight_of_x_alone_leaves_the_noise_baseline_neutral_and_one_of_x0_hat_does_not():
    """By quadrature over the noise, as the docstrings say."""
    mixture = MIXTURES["1-D multimodal"]
    noise, share = map(torch.from_numpy, noise_nodes(100, 1))
    x, t = torch.full_like(noise, 0.3), torch.full_like(noise[:, 0], 0.4)
    means = {}
    for name, weighting in {
        "x": SampleWeighting(lambda level, x, d: x[:, 0].square()),
        "x0_hat": SampleWeighting(lambda level, x, d: d[:, 0].square()),
        "dmd": DMDWeighting(),
    }.items():
        means[name] = [
            (
                share @ weighted_residual(mixture.prior(), x, None, t, noise, weighting, baseline)
            ).item()
            for baseline in (NoiseBaseline(), NoBaseline())
        ]
    assert means["x"][0] == pytest.approx(means["x"][1], rel=1e-9)
    assert means["x0_hat"][0] != pytest.approx(means["x0_hat"][1], rel=1e-2)
    assert means["dmd"][0] != pytest.approx(means["dmd"][1], rel=1e-2)


def test_every_name_is_tested():
    assert set(_NAMED) == {name for name in OF_TIME if name in _NAMED} | {"dmd"}


def test_names_are_their_objects():
    for name, weighting in _NAMED.items():
        assert as_weighting(name) is weighting  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("weighting", "times"), [("snr", 0.0), ("alpha_over_sigma", 0.0), ("sigma_over_alpha", 1.0)]
)
def test_singular_weights_are_refused(weighting, times):
    prior = conditional_gaussian(RectifiedFlowSchedule())
    with pytest.raises(SingularTimeError, match="narrow the time range"):
        ScoreRegularizedObjective.from_value(None, prior, weighting=weighting, times=times)


def test_an_infinite_weight_is_refused_where_the_residual_vanishes():
    """sigma / alpha times the residual of a velocity is finite at alpha = 0; no remainder's is."""
    network = NetworkPrior(lambda x_t, t, condition: x_t, RectifiedFlowSchedule(), "v_prediction")
    with pytest.raises(SingularTimeError, match="t = 1"):
        ScoreRegularizedObjective.from_value(
            None, network, weighting="sigma_over_alpha", baseline="none", times=(0.1, 1.0)
        )


def call(weighting, x: Tensor = X):
    objective = ScoreRegularizedObjective.from_value(
        None, conditional_gaussian(), weighting=weighting
    )
    return objective(x, C)


BAD = {
    "gamma zero": (lambda: MinSNR(0.0), ("gamma=0.0", "> 0")),
    "gamma infinite": (lambda: MinSNR(math.inf), ("gamma=inf", "finite")),
    "negative": (
        lambda: call(SampleWeighting(lambda level, x, d: -level.sigma)),
        ("negative", "SampleWeighting", ">= 0"),
    ),
    "not finite": (
        lambda: call(SampleWeighting(lambda level, x, d: 1 / (0 * x[:, 0]))),
        ("infinite", "SampleWeighting"),
    ),
    "an event": (
        lambda: call(SampleWeighting(lambda level, x, d: x)),
        ("(7, 3)", "(7,)", "one weight for each time"),
    ),
    "a number": (lambda: call(SampleWeighting(lambda level, x, d: 1.0)), ("float", "(7,)")),  # pyright: ignore[reportArgumentType]
    "an unknown name": (lambda: as_weighting("sigma"), ("'sigma'", "'min_snr'")),  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize(("act", "says"), BAD.values(), ids=list(BAD))
def test_bad_input(act, says):
    with pytest.raises(ScoreRegsError) as caught:
        act()
    assert type(caught.value) is ArgumentError
    for words in ("got", "expected", *says):
        assert words in str(caught.value)


def test_a_prior_that_is_not_finite_is_not_blamed_on_the_weight():
    prior = NetworkPrior(lambda x_t, t, condition: x_t * math.nan, VPSchedule())
    with pytest.raises(ScoreRegsError, match="from the prior"):
        ScoreRegularizedObjective.from_value(None, prior, weighting="dmd")(X)
