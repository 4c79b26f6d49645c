"""The expected gradient is the gradient of Eq. 14, to 1e-9 relative."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from scoreregs import ScoreRegularizedObjective
from scoreregs.baselines import as_baseline
from scoreregs.kernel import weighted_residual
from scoreregs.weightings import as_weighting
from tests.core.ground_truth import (
    MIXTURES,
    WEIGHTINGS,
    WEIGHTS,
    Mixture,
    regulariser_gradient,
    time_and_noise_nodes,
    time_nodes,
)

PRECISION = 1e-9
BETA = 0.7


def point(mixture: Mixture) -> np.ndarray:
    return np.array([0.3, -0.2])[: mixture.means.shape[1]]


@lru_cache
def expected_gradient(name: str, weight: str) -> torch.Tensor:
    mixture = MIXTURES[name]
    return torch.from_numpy(regulariser_gradient(mixture, point(mixture), WEIGHTS[weight], 40))


def nodes(mixture: Mixture) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    dimension = mixture.means.shape[1]
    return time_and_noise_nodes(36, 100 if dimension == 1 else 40, dimension)


@pytest.mark.parametrize("baseline", ["noise", "none"])
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("name", MIXTURES)
def test_kernel(name, weight, baseline):
    """The kernel's residual, averaged over t and noise, is the gradient of E_t w sigma/alpha KL."""
    mixture = MIXTURES[name]
    t, noise, share = nodes(mixture)
    residual = weighted_residual(
        mixture.prior(),
        torch.from_numpy(point(mixture)).expand_as(noise),
        None,
        t,
        noise,
        as_weighting(WEIGHTINGS[weight]),
        as_baseline(baseline),
    )
    torch.testing.assert_close(
        share @ residual, expected_gradient(name, weight), rtol=PRECISION, atol=1e-11
    )


@pytest.mark.parametrize("beta_on", ["prior", "value"])
@pytest.mark.parametrize("baseline", ["noise", "none"])
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("name", MIXTURES)
def test_objective(name, weight, baseline, beta_on):
    """`loss.backward()` gives minus the gradient of Eq. 14 (times beta, with beta on the value).

    Every node of the quadrature is a sample of the batch; all of them are the same x.
    """
    mixture = MIXTURES[name]
    t, noise, share = nodes(mixture)
    objective = ScoreRegularizedObjective.from_value(
        lambda x, condition: torch.sin(2 * x).sum(-1),
        mixture.prior(),
        beta=BETA,
        beta_on=beta_on,
        weighting=WEIGHTINGS[weight],
        baseline=baseline,
        reduction="none",
    )
    x = torch.tensor(point(mixture), requires_grad=True)
    loss = objective(x.expand_as(noise), t=t, noise=noise).loss
    (share @ loss).backward()
    value_gradient = 2 * torch.cos(2 * x.detach())
    expected = expected_gradient(name, weight) / BETA - value_gradient
    if beta_on == "value":
        expected = expected * BETA
    torch.testing.assert_close(x.grad, expected, rtol=PRECISION, atol=1e-11)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_objective_with_many_draws(weight):
    """The mean over (draws, batch) is an expectation too.

    A Gaussian's noise prediction is linear, so that noise +1 and -1, which have equal weights, are
    exact; the midpoint rule in t, with equal weights too, leaves an error of 1e-7.
    """
    mixture = MIXTURES["1-D unimodal"]
    count = 4000
    middles = 0.02 + 0.96 * (torch.arange(count, dtype=torch.float64) + 0.5) / count
    t = middles.repeat(2)[:, None].expand(-1, 3)
    noise = torch.ones(2 * count, 3, 1, dtype=torch.float64)
    noise[count:] = -1
    objective = ScoreRegularizedObjective.from_value(
        None, mixture.prior(), weighting=WEIGHTINGS[weight]
    )
    x = torch.full((3, 1), 0.3, dtype=torch.float64, requires_grad=True)
    objective(x, t=t, noise=noise).loss.backward()
    expected = expected_gradient("1-D unimodal", weight).expand(3, 1) / 3
    torch.testing.assert_close(x.grad, expected, rtol=1e-6, atol=0)


def test_drawn_times_and_noise_have_that_expectation():
    """What the objective draws itself is uniform in t and standard normal in the noise."""
    mixture = MIXTURES["1-D multimodal"]
    objective = ScoreRegularizedObjective.from_value(
        None, mixture.prior(), draws=200_000, generator=torch.Generator().manual_seed(0)
    )
    gradient = objective(torch.full((1, 1), 0.3, dtype=torch.float64)).gradient[0]
    torch.testing.assert_close(
        gradient, expected_gradient("1-D multimodal", "sigma2"), rtol=0.02, atol=0
    )


def test_the_quadrature_of_time_is_converged():
    """More nodes of the ground truth change it by less than the precision claimed here."""
    mixture = MIXTURES["1-D multimodal"]
    more = regulariser_gradient(mixture, point(mixture), WEIGHTS["alpha_over_sigma"], 60)
    fewer = expected_gradient("1-D multimodal", "alpha_over_sigma")
    torch.testing.assert_close(torch.from_numpy(more), fewer, rtol=PRECISION, atol=0)
    assert time_nodes(8)[1].sum() == pytest.approx(1)
