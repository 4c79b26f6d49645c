"""The probability-flow ODE against closed-form mixtures."""

import sys

import pytest
import torch

from scoreregs import (
    CosineSchedule,
    EDMSchedule,
    EmpiricalPrior,
    GaussianMixturePrior,
    NetworkPrior,
    RectifiedFlowSchedule,
    SubVPSchedule,
    TabulatedSchedule,
    VESchedule,
    VPSchedule,
)
from scoreregs.errors import ArgumentError, MissingDependencyError, ScoreRegsError
from scoreregs.probability_flow import log_density, sample
from tests.core.ground_truth import MIXTURES
from tests.core.networks import PREDICTIONS, ExactNetwork

# They end in noise so nearly that what is left of the data does not show in the density.
SCHEDULES = {"vp": VPSchedule(0.1, 60), "ve": VESchedule(0.01, 1e6), "cosine": CosineSchedule()}


@pytest.mark.parametrize("start", [0.0, 0.2])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))
@pytest.mark.parametrize("name", ["1-D multimodal", "2-D multimodal"])
def test_log_density_is_that_of_the_closed_form(name, schedule, start):
    """Of the data diffused to the start, on any schedule, to the solver's tolerance."""
    pytest.importorskip("torchdiffeq")
    prior = GaussianMixturePrior(*MIXTURES[name].tensors(), schedule)
    x_t = prior.draw(4, generator=torch.Generator().manual_seed(0))
    actual = log_density(prior, x_t, times=(start, 1.0), tolerance=1e-6)
    torch.testing.assert_close(actual, prior.log_prob(x_t, start), rtol=0, atol=1e-4)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_prediction_type_gives_one_density(prediction):
    pytest.importorskip("torchdiffeq")
    exact = MIXTURES["1-D multimodal"].prior()
    network = ExactNetwork(exact, prediction, torch.float64)
    prior = NetworkPrior(network, VPSchedule(), prediction)
    x = exact.draw(4, generator=torch.Generator().manual_seed(0))
    # VP-linear keeps alpha = 0.007 of the data at t = 1, which shows in the third digit.
    torch.testing.assert_close(log_density(prior, x), log_density(exact, x), rtol=0, atol=1e-6)
    torch.testing.assert_close(log_density(prior, x), exact.log_prob(x, 1e-3), rtol=0, atol=1e-2)
    assert network.training


def test_samples_have_the_moments_of_the_closed_form():
    pytest.importorskip("torchdiffeq")
    prior = MIXTURES["2-D multimodal"].prior()
    exact = prior.draw(50_000, generator=torch.Generator().manual_seed(0))
    samples = sample(prior, (4000, 2), generator=torch.Generator().manual_seed(1))
    assert samples.dtype == torch.float32
    torch.testing.assert_close(samples.double().mean(0), exact.mean(0), rtol=0, atol=0.04)
    torch.testing.assert_close(samples.double().T.cov(), exact.T.cov(), rtol=0, atol=0.04)
    again = sample(prior, (4000, 2), generator=torch.Generator().manual_seed(1))
    assert torch.equal(samples, again)


CURVE = torch.linspace(0.01, torch.pi / 2, 200, dtype=torch.float64)
EVERY_SCHEDULE = {
    "VP": VPSchedule(),
    "sub-VP": SubVPSchedule(),
    "cosine": CosineSchedule(),
    "rectified flow": RectifiedFlowSchedule(),
    "shifted flow": RectifiedFlowSchedule(3.0),
    "VE": VESchedule(),
    "EDM": EDMSchedule(),
    "table": TabulatedSchedule(CURVE.cos(), CURVE.sin(), "log_snr"),
    "table that snaps": TabulatedSchedule(CURVE.cos().clamp(min=0), CURVE.sin()),
}


@pytest.mark.parametrize("schedule", EVERY_SCHEDULE.values(), ids=list(EVERY_SCHEDULE))
@pytest.mark.parametrize("kind", ["mixture", "data set"])
def test_the_defaults_work_for_every_schedule_and_closed_form(kind, schedule):
    """Where alpha(1) is zero, too."""
    pytest.importorskip("torchdiffeq")
    mixture = GaussianMixturePrior(*MIXTURES["2-D multimodal"].tensors(), schedule)
    data = mixture.draw(64, generator=torch.Generator().manual_seed(0)).float()
    prior = mixture if kind == "mixture" else EmpiricalPrior(data, schedule)
    exact = mixture.draw(50_000, generator=torch.Generator().manual_seed(0)).float()
    expected = exact if kind == "mixture" else data
    samples = sample(prior, (1000, 2), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(samples.mean(0), expected.mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(samples.T.cov(), expected.T.cov(), rtol=0, atol=0.1)
    if kind == "data set":  # at t = 1e-3 they are at the data, but for the noise that is left
        sigma = schedule(torch.tensor(5e-3, dtype=torch.float64))[1].item()
        assert torch.cdist(samples, data).amin(1).median().item() < 4 * sigma + 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_solved_in_single(dtype):
    pytest.importorskip("torchdiffeq")
    prior = MIXTURES["2-D multimodal"].prior()
    single, half = (
        sample(prior, (4, 2), generator=torch.Generator().manual_seed(1), dtype=kind)
        for kind in (torch.float32, dtype)
    )
    assert torch.equal(half, single.to(dtype))
    x = single.to(dtype)
    assert torch.equal(log_density(prior, x), log_density(prior, x.float()).to(dtype))


def test_samples_follow_their_condition():
    pytest.importorskip("torchdiffeq")

    def around(c):
        return torch.ones(len(c), 1), c[:, None], (0.01 * torch.eye(1)).expand(len(c), 1, 1, 1)

    prior = GaussianMixturePrior.conditional(around, VPSchedule())
    condition = torch.tensor([[-2.0], [0.0], [3.0]])
    samples = sample(prior, (3, 1), condition, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(samples, condition, rtol=0, atol=0.4)


@pytest.mark.parametrize("times", [(0.5, 0.1), (-0.1, 1.0), (0.0, 1.1), (0.3, 0.3)])
def test_times_are_checked(times):
    prior = MIXTURES["1-D unimodal"].prior()
    with pytest.raises(ArgumentError, match=r"times\[0\] < times\[1\]"):
        sample(prior, (2, 1), times=times)
    with pytest.raises(ArgumentError, match=r"times\[0\] < times\[1\]"):
        log_density(prior, torch.zeros(2, 1), times=times)


def test_a_missing_solver_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    prior = MIXTURES["1-D unimodal"].prior()
    with pytest.raises(MissingDependencyError, match=r"pip install 'scoreregs\[ode\]'") as caught:
        sample(prior, (2, 1))
    assert isinstance(caught.value, ScoreRegsError)
    assert isinstance(caught.value, ImportError)
