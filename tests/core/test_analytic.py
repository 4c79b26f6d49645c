"""GaussianMixturePrior against scipy, autograd and the moments of its own formula."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from scoreregs import GaussianMixturePrior, VPSchedule
from scoreregs.errors import ArgumentError
from tests.core.ground_truth import MIXTURES, vp_scales

TIMES = (0.0, 0.02, 0.4, 1.0)


def points(dimension: int, count: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 1.5 * torch.randn(count, dimension, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("name", MIXTURES)
def test_log_density_is_that_of_scipy(name, t):
    mixture = MIXTURES[name]
    x_t = points(mixture.means.shape[1])
    actual = mixture.prior().log_prob(x_t, t)
    np.testing.assert_allclose(
        actual, mixture.log_density(x_t.numpy(), *vp_scales(t)), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("name", MIXTURES)
def test_score_is_the_gradient_of_the_log_density(name, t):
    prior = MIXTURES[name].prior()
    x_t = points(MIXTURES[name].means.shape[1]).requires_grad_()
    (gradient,) = torch.autograd.grad(prior.log_prob(x_t, t).sum(), x_t)
    torch.testing.assert_close(prior.score(x_t, t), gradient, rtol=1e-10, atol=1e-10)


def test_log_density_takes_a_time_for_each_sample():
    prior, x_t = MIXTURES["2-D multimodal"].prior(), points(2, 4)
    together = prior.log_prob(x_t, torch.tensor(TIMES, dtype=torch.float64))
    for i, t in enumerate(TIMES):
        torch.testing.assert_close(together[i : i + 1], prior.log_prob(x_t[i : i + 1], t))


def test_denoised_sample_is_the_posterior_mean():
    """By quadrature over the data of one x_t."""
    mixture, t, x_t = MIXTURES["1-D multimodal"], 0.2, 0.4
    alpha, sigma = vp_scales(t)

    def joint(x: float) -> float:
        log_data = mixture.log_density(np.array([[x]]), 1, 0)[0]
        return float(np.exp(log_data - (x_t - alpha * x) ** 2 / (2 * sigma**2)))

    normaliser = quad(joint, -8, 8, epsabs=1e-12, limit=200)[0]
    mean = quad(lambda x: x * joint(x), -8, 8, epsabs=1e-12, limit=200)[0] / normaliser
    denoised = mixture.prior().denoise(torch.tensor([[x_t]], dtype=torch.float64), t)
    assert denoised.item() == pytest.approx(mean, rel=1e-9)


def test_drawn_samples_have_the_moments_of_the_mixture():
    mixture = MIXTURES["2-D multimodal"]
    samples = mixture.prior().draw(200_000, generator=torch.Generator().manual_seed(0))
    mean = mixture.weights @ mixture.means
    spread = mixture.means - mean
    covariance = np.einsum("k,kij->ij", mixture.weights, mixture.covariances)
    covariance += np.einsum("k,ki,kj->ij", mixture.weights, spread, spread)
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.01)
    np.testing.assert_allclose(samples.T.cov(), covariance, atol=0.01)
    again = mixture.prior().draw(200_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(samples, again)


def test_conditional_mixture_is_that_of_each_condition():
    """A batch of conditions gives what one fixed mixture for each of them gives."""
    weights = torch.tensor([[0.2, 0.8], [0.7, 0.3]], dtype=torch.float64)
    means = torch.tensor([[[-1.0], [0.5]], [[0.1], [2.0]]], dtype=torch.float64)
    covariances = torch.tensor([[[[0.1]], [[0.4]]], [[[0.3]], [[0.2]]]], dtype=torch.float64)

    def mixture(rows: torch.Tensor):
        return weights[rows], means[rows], covariances[rows]

    prior = GaussianMixturePrior.conditional(mixture, VPSchedule())
    rows, x_t = torch.tensor([1, 0, 1]), points(1, 3)
    for i, row in enumerate(rows):
        fixed = GaussianMixturePrior(*mixture(row), VPSchedule())
        one = x_t[i : i + 1]
        torch.testing.assert_close(prior.score(x_t, 0.3, rows)[i : i + 1], fixed.score(one, 0.3))
        torch.testing.assert_close(
            prior.log_prob(x_t, 0.3, rows)[i : i + 1], fixed.log_prob(one, 0.3)
        )
    many = torch.cat([torch.zeros(50_000), torch.ones(50_000)]).long()
    samples = prior.draw(100_000, many, torch.Generator().manual_seed(0))
    for i, half in enumerate(samples.split(50_000)):
        expected = (weights[i] @ means[i]).item()
        assert half.mean().item() == pytest.approx(expected, abs=0.02)


def test_events_of_any_shape_are_flattened_in_order():
    flat = MIXTURES["2-D multimodal"]
    weights, means, covariances = flat.tensors()
    shaped = GaussianMixturePrior(weights, means.reshape(2, 1, 2, 1), covariances, VPSchedule())
    x_t = points(2)
    score = shaped.score(x_t.reshape(-1, 1, 2, 1), 0.3)
    assert torch.equal(score.flatten(1), flat.prior().score(x_t, 0.3))
    assert shaped.draw(5).shape == (5, 1, 2, 1)


def test_lists_are_read_in_double_precision():
    prior = GaussianMixturePrior([0.3, 0.7], [[-0.1], [0.2]], [[[0.1]], [[0.3]]], VPSchedule())
    mixture = MIXTURES["1-D unimodal"].of([0.3, 0.7], [[-0.1], [0.2]], [[[0.1]], [[0.3]]])
    x_t = points(1)
    assert torch.equal(prior.log_prob(x_t, 0.3), mixture.prior().log_prob(x_t, 0.3))


def test_covariances_that_were_inverted_in_float32_are_symmetric_enough():
    factor = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    covariance = torch.linalg.inv(factor @ factor.T + torch.eye(16))
    GaussianMixturePrior([1.0], torch.zeros(1, 16), covariance[None], VPSchedule())


@pytest.mark.parametrize(
    ("weights", "means", "covariances", "message"),
    [
        ([0.5, 0.6], [[0.0], [1.0]], [[[1.0]], [[1.0]]], "sum to one"),
        ([0.0, 1.0], [[0.0], [1.0]], [[[1.0]], [[1.0]]], "positive"),
        ([float("nan")], [[0.0]], [[[1.0]]], "positive"),
        ([1.0], [[0.0]], [[[0.0]]], "positive definite"),
        ([1.0], [[0.0]], [[[float("nan")]]], "positive definite"),
        ([1.0], [[float("nan")]], [[[1.0]]], "NaN or infinity in means"),
        ([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.0, 1.0]]], "symmetric"),
        ([1.0], [0.0], [[[1.0]]], "expected"),
        ([1.0], [[0.0]], [[1.0]], "expected"),
        ([0.5, 0.5], [[0.0]], [[[1.0]]], "expected"),
        ([], torch.zeros(0, 1), torch.zeros(0, 1, 1), "expected"),
    ],
)
def test_what_is_no_mixture_is_refused(weights, means, covariances, message):
    with pytest.raises(ArgumentError, match=message):
        GaussianMixturePrior(weights, means, covariances, VPSchedule())


def test_x_of_another_shape_is_refused():
    prior = MIXTURES["2-D multimodal"].prior()
    with pytest.raises(ArgumentError, match=r"expected \(batch, 2\)"):
        prior.score(torch.zeros(4, 3), 0.5)
    with pytest.raises(ArgumentError, match="expected an integer of at least 1"):
        prior.draw(0)
