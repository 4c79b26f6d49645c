"""through_prior=True is the gradient of a denoising loss, as autograd has it."""

import math

import pytest
import torch
from torch import Tensor, nn

from scoreregs import (
    ClampedPrior,
    EDMSchedule,
    GaussianMixturePrior,
    GuidedPrior,
    NetworkPrior,
    NoiseSchedule,
    RectifiedFlowSchedule,
    ScorePrior,
    ScoreRegularizedObjective,
    SubVPSchedule,
    VPSchedule,
)
from scoreregs.recipes import dtql
from tests.core.gaussians import S2, conditional_gaussian, scales
from tests.core.networks import PREDICTIONS, TimedNetwork

BATCH, D, DRAWS = 6, 3, 2
GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


X, NOISE, C = normal(BATCH, D), normal(DRAWS, BATCH, D), normal(BATCH, D)
T = torch.linspace(0.05, 0.9, DRAWS * BATCH, dtype=torch.float64).reshape(DRAWS, BATCH)
SCHEDULES = [VPSchedule(), SubVPSchedule(), RectifiedFlowSchedule(), EDMSchedule()]


def network_prior(prediction, schedule: NoiseSchedule) -> NetworkPrior:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TimedNetwork(D, D).double()
    return NetworkPrior(network, schedule, prediction)


def by_autograd(prior: ScorePrior, weight=lambda log_snr: torch.sigmoid(-log_snr)) -> Tensor:
    r"""The gradient in x of w alpha / (2 sigma) |x - D(x_t)|^2, averaged over draws."""
    x = X.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for t, noise in zip(T, NOISE, strict=True):
        level = prior.schedule.at(t)
        alpha, sigma = level.alpha[:, None], level.sigma[:, None]
        x_t = alpha * x + sigma * noise
        output = prior.predict(x_t, t, C)
        clean = prior.prediction.sample(output, x_t, level, prior.schedule)
        w = weight(level.log_snr)[:, None]
        total = total + (w * alpha / sigma * (x - clean).square() / 2).sum() / DRAWS
    return torch.autograd.grad(total, x)[0]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_is_the_gradient_of_the_loss(prediction, schedule):
    prior = network_prior(prediction, schedule)
    objective = ScoreRegularizedObjective.from_value(None, prior, through_prior=True)
    actual = objective(X, C, t=T, noise=NOISE).gradient
    torch.testing.assert_close(actual, by_autograd(prior), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda prior: prior,
        lambda prior: GuidedPrior(prior, 2.0, torch.zeros(1, D, dtype=torch.float64)),
        lambda prior: ClampedPrior(prior, -1.0, 1.0),
    ],
    ids=["mixture", "guided", "clamped"],
)
def test_goes_through_wrapping_priors(wrap):
    prior = wrap(conditional_gaussian())
    objective = ScoreRegularizedObjective.from_value(None, prior, through_prior=True)
    actual = objective(X, C, t=T, noise=NOISE).gradient
    torch.testing.assert_close(actual, by_autograd(prior), rtol=1e-8, atol=1e-10)


def test_for_a_gaussian_it_is_the_residual_times_one_minus_the_gain():
    """D has the derivative alpha S2 / (alpha^2 S2 + sigma^2), whatever x is."""
    plain, through = (
        ScoreRegularizedObjective.from_value(None, conditional_gaussian(), through_prior=flag)
        for flag in (False, True)
    )
    alpha, sigma = scales(T[0])
    gain = alpha**2 * S2 / (alpha**2 * S2 + sigma**2)
    expected = (1 - gain) * plain(X, C, t=T[0], noise=NOISE[0]).gradient
    torch.testing.assert_close(through(X, C, t=T[0], noise=NOISE[0]).gradient, expected)


def test_value_beta_and_draws_are_as_without():
    def value(x: Tensor, condition: Tensor) -> Tensor:
        return torch.sin(x).sum(-1)

    prior = conditional_gaussian()
    objective = ScoreRegularizedObjective.from_value(value, prior, through_prior=True, beta=0.2)
    expected = by_autograd(prior) / 0.2 - torch.cos(X)
    torch.testing.assert_close(objective(X, C, t=T, noise=NOISE).gradient, expected)


def test_leaves_parameters_modes_and_inputs_alone():
    network = nn.Sequential(nn.Linear(D, D), nn.Dropout(0.5)).double()
    prior = NetworkPrior(lambda x_t, t, condition: network(x_t), VPSchedule())
    network.eval()
    objective = ScoreRegularizedObjective.from_value(None, prior, through_prior=True)
    x = X.clone().requires_grad_()
    objective(x).loss.backward()
    assert x.grad is not None
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    with torch.no_grad():
        assert objective(X).gradient.isfinite().all()
    assert not X.requires_grad


def test_dtql_is_its_published_loss():
    """mean(((D - x) / c_out)^2) of EDM, summed here over the event in place of the mean."""
    schedule, sigma_data = EDMSchedule(), 0.5
    prior = network_prior("sample", schedule)

    def value(x: Tensor, condition: Tensor) -> Tensor:
        return torch.sin(x).sum(-1)

    x = X.clone().requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    for t, noise in zip(T, NOISE, strict=True):
        sigma = schedule(t)[1][:, None]
        c_out = sigma * sigma_data / torch.sqrt(sigma**2 + sigma_data**2)
        denoised = prior.predict(x + sigma * noise, t, C)
        loss = loss + ((denoised - x) / c_out).square().sum() / DRAWS
    expected = 4.0 * torch.autograd.grad(loss, x)[0] - torch.cos(X)
    objective = dtql(value, prior, beta=0.25)
    torch.testing.assert_close(objective(X, C, t=T, noise=NOISE).gradient, expected)


def test_dtql_draws_its_log_logistic_sigma():
    prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], EDMSchedule())
    times = dtql(lambda x, c: x.sum(-1), prior).times
    generator = torch.Generator().manual_seed(0)
    t = times.sample(1, 50_000, torch.device("cpu"), generator)[0]
    log_sigma = EDMSchedule()(t)[1].log()
    u = torch.sigmoid((log_sigma - math.log(0.5)) / 0.5)
    low, high = (
        torch.sigmoid(torch.tensor((math.log(s) - math.log(0.5)) / 0.5)).item() for s in (2e-3, 80)
    )
    ranks = ((u - low) / (high - low)).sort().values
    even = torch.linspace(0, 1, len(ranks), dtype=torch.float64)
    assert (ranks - even).abs().max() < 1.63 / len(ranks) ** 0.5  # Kolmogorov-Smirnov, 1 %
