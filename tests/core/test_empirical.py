"""The data set's prior against the sum over its samples, written out."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor

from scoreregs import (
    EDMSchedule,
    EmpiricalPrior,
    GaussianMixturePrior,
    RectifiedFlowSchedule,
    VPSchedule,
)
from scoreregs.errors import ArgumentError
from scoreregs.testing import PriorContract

F64 = torch.float64


def cloud(count: int, *event: int) -> Tensor:
    return torch.randn(count, *event, generator=torch.Generator().manual_seed(0), dtype=F64)


def posterior_mean(data: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    distance = (x_t.flatten(1)[:, None] - alpha * data.flatten(1)).square().sum(-1)
    weights = torch.softmax(-distance / (2 * sigma**2), dim=1)
    return (weights @ data.flatten(1)).reshape(x_t.shape)


class TestContract(PriorContract):
    def make_prior(self):
        return EmpiricalPrior(cloud(64, 2), VPSchedule())

    def make_data(self):
        return cloud(64, 2).float(), None


@pytest.mark.parametrize("schedule", [VPSchedule(), EDMSchedule(), RectifiedFlowSchedule()])
@pytest.mark.parametrize("block", [1, 50, 1 << 22])
def test_is_the_sum_over_samples_in_any_chunks(schedule, block, monkeypatch):
    monkeypatch.setattr("scoreregs.priors.empirical._BLOCK", block)
    data = 3 + cloud(37, 2, 3)
    prior = EmpiricalPrior(data, schedule)
    for t in (0.03, 0.3, 0.8):
        level = schedule.at(torch.tensor([t], dtype=F64))
        x_t = level.alpha * data[:5] + level.sigma * cloud(5, 2, 3)
        expected = posterior_mean(data, x_t, level.alpha, level.sigma)
        torch.testing.assert_close(prior.denoise(x_t, t), expected, rtol=1e-10, atol=1e-10)
        score = (level.alpha * expected - x_t) / level.sigma**2
        torch.testing.assert_close(prior.score(x_t, t), score, rtol=1e-8, atol=1e-8)


def test_is_the_limit_of_a_mixture_of_narrow_gaussians():
    data = cloud(5, 2)
    narrow = (1e-10 * torch.eye(2)).expand(5, 2, 2)
    mixture = GaussianMixturePrior(torch.full((5,), 0.2), data, narrow, VPSchedule())
    x_t = cloud(9, 2)
    for t in (0.05, 0.5):
        got = EmpiricalPrior(data, VPSchedule()).epsilon(x_t, t)
        torch.testing.assert_close(got, mixture.epsilon(x_t, t), rtol=1e-6, atol=1e-6)


def test_ends_are_the_nearest_sample_and_the_mean():
    data = cloud(20, 3)
    prior = EmpiricalPrior(data, RectifiedFlowSchedule())
    x_t = data[:7] + 0.01
    torch.testing.assert_close(prior.denoise(x_t, 0.0), data[:7])
    torch.testing.assert_close(prior.denoise(x_t, 1.0), data.mean(0).expand(7, 3))


def test_data_far_from_the_origin_loses_no_precision():
    data, x_t, t = cloud(30, 2), cloud(6, 2), 0.02
    alpha = VPSchedule().at(torch.tensor([t], dtype=F64)).alpha
    far = EmpiricalPrior(data + 1e5, VPSchedule()).denoise(x_t + alpha * 1e5, t) - 1e5
    near = EmpiricalPrior(data, VPSchedule()).denoise(x_t, t)
    torch.testing.assert_close(far, near, rtol=0, atol=1e-6)


def test_images_in_half_precision_keep_their_dtype():
    prior = EmpiricalPrior(cloud(10, 1, 4, 4).bfloat16(), VPSchedule())
    x_t = cloud(3, 1, 4, 4).float()
    assert prior.denoise(x_t, 0.5).dtype == torch.float32
    expected = EmpiricalPrior(cloud(10, 1, 4, 4).bfloat16().double(), VPSchedule())
    torch.testing.assert_close(prior.denoise(x_t, 0.5), expected.denoise(x_t, 0.5))


def test_sixty_thousand_images_take_less_than_a_gigabyte():
    """The resident set's peak of a process beyond what torch takes, the data (0.2 GB) included."""
    program = textwrap.dedent("""
        import resource, torch
        from scoreregs import EmpiricalPrior, VPSchedule
        torch.set_num_threads(1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        data = torch.empty(60_000, 1, 28, 28).uniform_(-1, 1)
        prior = EmpiricalPrior(data, VPSchedule())
        x_hat = prior.denoise(data[:64] + 0.01, 0.02)
        assert torch.allclose(x_hat, data[:64], atol=1e-6)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    kilobytes = int(result.stdout) // (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 1_000_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.zeros(0, 2), "non-empty"),
        (torch.zeros(4), r"\(count, 1\)"),
        (torch.zeros(4, 2, dtype=torch.uint8), "floating"),
        (torch.full((4, 2), float("nan")), "finite"),
    ],
)
def test_what_is_no_data_is_refused(data, message):
    with pytest.raises(ArgumentError, match=message):
        EmpiricalPrior(data, VPSchedule())


def test_another_event_is_refused():
    with pytest.raises(ArgumentError, match=r"expected \(batch, 2\)"):
        EmpiricalPrior(cloud(4, 2), VPSchedule()).epsilon(torch.ones(1, 3), 0.5)
