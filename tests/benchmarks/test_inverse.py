"""The benchmark of inverse problems, shrunk: its problems, its denoiser and its rows."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytest.importorskip("sklearn")

from benchmarks.quality.inverse.__main__ import Arguments, compare, markdown
from benchmarks.quality.inverse.beside import deepinv_denoiser, deepinv_physics
from benchmarks.quality.inverse.prior import denoise_unit, trained
from benchmarks.quality.inverse.problems import (
    PROBLEMS,
    gaussian_mean,
    measure,
    psnr,
    signed_misfit,
)
from scoreregs import GaussianMixturePrior, RectifiedFlowSchedule

IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
needs_deepinv = pytest.mark.skipif(find_spec("deepinv") is None, reason="deepinv is not installed")


def exact_prior() -> GaussianMixturePrior:
    """Pixels around 0.2 in [-1, 1], with a standard deviation of 0.3."""
    mean, covariance = torch.full((1, 1, 8, 8), 0.2), 0.09 * torch.eye(64)[None]
    return GaussianMixturePrior([1.0], mean, covariance, RectifiedFlowSchedule())


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_have_norm_one_and_the_noise_that_they_say(name):
    many = IMAGES.repeat(400, 1, 1, 1)
    problem = measure(name, many, seed=3)
    assert torch.linalg.matrix_norm(problem.operator, 2).item() == pytest.approx(1.0, abs=1e-5)
    # What is left of the measurements of the true image is noise, twice as large in [-1, 1].
    misfit = signed_misfit(problem, 2 * many - 1)
    assert misfit.std().item() == pytest.approx(2 * problem.noise, rel=0.02)
    assert abs(misfit.mean().item()) < 0.01 * problem.noise + 2e-3


def test_the_gaussian_mean_is_that_of_independent_pixels():
    train = 0.5 + 0.2 * torch.randn(4_000, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    problem = measure("denoising", IMAGES, seed=0)
    gain = 0.2**2 / (0.2**2 + problem.noise**2)
    expected = 0.5 + gain * (problem.measured.reshape(IMAGES.shape) - 0.5)
    torch.testing.assert_close(gaussian_mean(problem, train), expected, rtol=0, atol=0.06)


def test_psnr_is_that_of_a_range_of_one():
    assert psnr(torch.full((3, 1, 8, 8), 0.1), torch.zeros(3, 1, 8, 8)).mean() == pytest.approx(20)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 4.0])
def test_the_denoiser_of_unit_images_is_the_posterior_mean(sigma):
    mean, variance = 0.6, 0.15**2  # of the exact prior's pixels in [0, 1]
    expected = mean + variance / (variance + sigma**2) * (IMAGES - mean)
    found = denoise_unit(exact_prior(), IMAGES, torch.full((5,), sigma))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_every_method_gets_a_row(tmp_path):
    shrunk = Arguments(
        tmp_path,
        Path("unused.json"),
        evaluations=2,
        runs=2,
        images=3,
        training_steps=2,
        width=8,
    )
    found = compare(shrunk)
    ours = ["RED-diff", "PnP-Flow", "FlowDPS"]
    assert list(found["rows"]) == list(PROBLEMS)
    for rows in found["rows"].values():
        assert list(rows)[:5] == ["measurement", "Gaussian posterior mean", *ours]
        assert all(rows[name]["evaluations"] == 2 for name in ours)
        assert rows["RED-diff"]["seconds_ratio"] == 1
    assert set(found["strengths"]) == set(found["validation"])
    assert len(markdown(found["rows"]).splitlines()) == 4 + len(found["strengths"])
    if find_spec("deepinv") is None:
        assert "pip install deepinv" in found["skipped"]["deepinv"]
    else:
        assert "deepinv DDRM" in found["strengths"]
        assert max(found["denoisers_differ_by"].values()) < 1e-5
    kept = trained(2 * IMAGES - 1, tmp_path / "prior.safetensors", width=8, steps=0, seed=1)
    assert kept.rows == 0
    assert not kept.training


@needs_deepinv
@pytest.mark.parametrize("name", PROBLEMS)
def test_operators_of_deepinv_are_the_same(name):
    problem = measure(name, IMAGES, seed=0)
    physics = deepinv_physics(problem)
    torch.testing.assert_close(physics.A(IMAGES), IMAGES.flatten(1) @ problem.operator.T)
    torch.testing.assert_close(physics.A_adjoint(problem.measured), problem.projected())


@needs_deepinv
def test_the_denoiser_of_deepinv_takes_each_form_of_a_level():
    denoiser = deepinv_denoiser(exact_prior())
    expected = denoiser(IMAGES, 0.5)
    for level in (torch.tensor(0.5), torch.full((5,), 0.5), torch.full((5, 1, 1, 1), 0.5)):
        torch.testing.assert_close(denoiser(IMAGES, level), expected)
