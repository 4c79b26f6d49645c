"""Conversions and native residuals of the five prediction types, against the formulas."""

import pytest
import torch
from torch import Tensor

from scoreregs import NetworkPrior, NoiseSchedule, ScoreRegularizedObjective, VPSchedule
from scoreregs.baselines import NoiseBaseline
from scoreregs.errors import ArgumentError, SingularTimeError
from scoreregs.kernel import denoising_loss, diffuse, weighted_residual
from scoreregs.predictions import as_prediction
from scoreregs.weightings import WeightingLike, as_weighting
from tests.core.networks import PREDICTIONS, target


class RectifiedFlow(NoiseSchedule):
    def __call__(self, t):
        return 1 - t, t


class VarianceExploding(NoiseSchedule):
    def __call__(self, t):
        return torch.ones_like(t), 0.01 * (50 / 0.01) ** t


def draw(*shape: int) -> Tensor:
    seed = len(shape) + sum(shape)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


T = torch.tensor([0.02, 0.3, 0.6, 0.98], dtype=torch.float64)
X, NOISE, ERROR = draw(4, 3), draw(4, 1, 3)[:, 0], 0.1 * draw(4, 3, 1)[..., 0]


@pytest.mark.parametrize("name", PREDICTIONS)
def test_target_converts_to_noise_data_and_score(name):
    """A network that returns the target is read as the noise, data and score that made it."""
    schedule, prediction = VPSchedule(), as_prediction(name)
    level = schedule.at(T)
    x_t, output = diffuse(X, NOISE, level), target(name, X, NOISE, T)
    for derived, expected in (
        (prediction.epsilon, NOISE),
        (prediction.sample, X),
        (prediction.score, -NOISE / level.sigma[:, None]),
    ):
        actual = derived(output, x_t, level, schedule)
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def published_conversions(output, x_t, alpha, sigma):
    """epsilon from each type on any schedule, as the field writes it (flow: rectified only)."""
    norm = torch.sqrt(alpha**2 + sigma**2)
    return {
        "epsilon": output,
        "sample": (x_t - alpha * output) / sigma,
        # On VE the field's v is normalised: (eps - s x) / sqrt(1 + s^2).
        "v_prediction": (alpha * output * norm + sigma * x_t) / (alpha**2 + sigma**2),
        "score": -sigma * output,
        "flow_prediction": x_t + (1 - sigma) * output,
    }


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        *((VPSchedule(), name) for name in PREDICTIONS[:-1]),
        *((VarianceExploding(), name) for name in PREDICTIONS[:-1]),
        *((RectifiedFlow(), name) for name in PREDICTIONS),
    ],
)
def test_any_output_converts_as_published(schedule, name):
    """For an output that is no target, too: noise, data and score are those of one x_t."""
    level, prediction, output = schedule.at(T), as_prediction(name), draw(4, 3)
    x_t = diffuse(X, NOISE, level)
    alpha, sigma = level.alpha[:, None], level.sigma[:, None]
    expected = published_conversions(output, x_t, alpha, sigma)[name]
    epsilon = prediction.epsilon(output, x_t, level, schedule)
    torch.testing.assert_close(epsilon, expected, rtol=1e-10, atol=1e-10)
    denoised = prediction.sample(output, x_t, level, schedule)
    torch.testing.assert_close(alpha * denoised + sigma * epsilon, x_t, rtol=1e-9, atol=1e-9)
    score = prediction.score(output, x_t, level, schedule)
    torch.testing.assert_close(-sigma * score, epsilon, rtol=1e-9, atol=1e-9)


def native_residuals(delta, t):
    """epsilon_hat - epsilon for a network that is off its target by delta, on VP."""
    alpha, sigma = (s[:, None] for s in VPSchedule()(t))
    rate = ((0.1 + 19.9 * t) / 2)[:, None]
    d_alpha, d_sigma = -rate * alpha, rate * alpha**2 / sigma
    return {
        "epsilon": delta,
        "sample": -alpha / sigma * delta,
        "v_prediction": alpha * delta / (alpha**2 + sigma**2),
        "score": -sigma * delta,
        "flow_prediction": alpha * delta / (alpha * d_sigma - d_alpha * sigma),
    }


def residual(name, t, delta, weighting: WeightingLike = "uniform"):
    prior = NetworkPrior(
        lambda x_t, time, condition: target(name, X, NOISE, time) + delta, VPSchedule(), name
    )
    arguments = as_weighting(weighting), NoiseBaseline()
    return weighted_residual(prior, X, None, t, NOISE, *arguments)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_residual_in_native_form(name):
    torch.testing.assert_close(
        residual(name, T, ERROR), native_residuals(ERROR, T)[name], rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("name", PREDICTIONS)
def test_denoising_loss_is_the_squared_difference_to_the_target(name):
    """For `score`, multiplied with sigma^2; Eq. 13 is the epsilon case."""
    prior = NetworkPrior(
        lambda x_t, time, condition: target(name, X, NOISE, time) + ERROR, VPSchedule(), name
    )
    factor = VPSchedule()(T)[1] if name == "score" else torch.ones_like(T)
    loss = denoising_loss(prior, X, None, T, NOISE)
    expected = factor.square() * ERROR.square().sum(1)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-12)


# Where w times the residual is finite at t = 0 on VP, with sigma = 0 and an infinite sigma'.
AT_ZERO = {
    ("epsilon", "sigma2"): True,
    ("epsilon", "uniform"): True,
    ("epsilon", "alpha_over_sigma"): False,
    ("sample", "sigma2"): True,
    ("sample", "uniform"): False,
    ("sample", "alpha_over_sigma"): False,
    ("v_prediction", "sigma2"): True,
    ("v_prediction", "uniform"): True,
    ("v_prediction", "alpha_over_sigma"): False,
    ("score", "sigma2"): True,
    ("score", "uniform"): True,
    ("score", "alpha_over_sigma"): False,
    ("flow_prediction", "uniform"): False,
    ("flow_prediction", "alpha_over_sigma"): False,
}


def objective(name, weighting, times, schedule=None):
    prior = NetworkPrior(
        lambda x_t, t, condition: torch.zeros_like(x_t), schedule or VPSchedule(), name
    )
    return ScoreRegularizedObjective.from_value(None, prior, weighting=weighting, times=times)


@pytest.mark.parametrize(("case", "finite"), AT_ZERO.items(), ids=map(str, AT_ZERO))
def test_data_end(case, finite):
    name, weighting = case
    if not finite:
        with pytest.raises(SingularTimeError, match="narrow the time range"):
            objective(name, weighting, (0.0, 0.98))
        return
    gradient = objective(name, weighting, 0.0)(X).gradient
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("name", ["epsilon", "sample", "v_prediction"])
def test_weighted_residual_at_the_data_end_is_the_limit(name):
    """sigma^2 times the residual goes to zero there, also where the residual diverges."""
    zero = residual(name, torch.zeros(4, dtype=torch.float64), ERROR, "sigma2")
    near = residual(name, torch.full((4,), 1e-8, dtype=torch.float64), ERROR, "sigma2")
    assert torch.equal(zero, torch.zeros_like(zero))
    assert near.abs().max().item() < 1e-4


@pytest.mark.parametrize("weighting", ["sigma2", "uniform", "alpha_over_sigma"])
@pytest.mark.parametrize("name", PREDICTIONS)
def test_noise_end_is_finite_even_at_alpha_zero(name, weighting):
    """Rectified flow and zero-terminal-SNR schedules end at alpha = 0 exactly."""
    gradient = objective(name, weighting, 1.0, RectifiedFlow())(X).gradient
    assert bool(gradient.isfinite().all())


def test_rectified_flow_residual_is_finite_at_both_ends():
    """(1 - t)(u_hat - u), with u = epsilon - x."""
    prior = NetworkPrior(
        lambda x_t, t, condition: NOISE - X + ERROR, RectifiedFlow(), "flow_prediction"
    )
    t = torch.tensor([0.0, 0.2, 0.7, 1.0], dtype=torch.float64)
    actual = weighted_residual(prior, X, None, t, NOISE, as_weighting("uniform"), NoiseBaseline())
    torch.testing.assert_close(actual, (1 - t)[:, None] * ERROR, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "read", "t"),
    [("sample", "epsilon", 0.0), ("epsilon", "score", 0.0), ("epsilon", "denoise", 1.0)],
)
def test_a_singular_reading_is_an_error(name, read, t):
    prior = NetworkPrior(lambda x_t, time, condition: x_t + 1, RectifiedFlow(), name)
    with pytest.raises(SingularTimeError, match="keep away from the end"):
        getattr(prior, read)(X, t)


def test_unknown_name():
    with pytest.raises(ArgumentError, match="'v_prediction'"):
        as_prediction("v")  # pyright: ignore[reportArgumentType]
