"""The kernel on one recorded step of the paper's own implementation (float32)."""

import numpy as np
import pytest
import torch

from scoreregs import ScorePrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.baselines import as_baseline
from scoreregs.kernel import weighted_residual
from scoreregs.schedules import as_time
from scoreregs.weightings import as_weighting
from tests.shared import shared_file


class Recorded(ScorePrior):
    """A prior that returns a recorded prediction of the noise, and keeps what it was asked."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__(VPSchedule(), "epsilon")
        self.output = output

    def predict(self, x_t, t, condition=None):
        self.x_t = x_t
        return self.output


@pytest.fixture(scope="module")
def step() -> dict[str, torch.Tensor]:
    names = ("action", "epsilon_hat", "t", "noise", "alpha", "sigma", "state")
    with np.load(shared_file("oracles/srpo_policy_step_locomotion.npz")) as file:
        return {name: torch.from_numpy(file[name]) for name in names}


def test_schedule(step):
    alpha, sigma = VPSchedule()(as_time(step["t"].flatten()))
    for scale, name in ((alpha, "alpha"), (sigma, "sigma")):
        recorded = step[name].flatten().double()
        # The recorded sigma is sqrt(1 - alpha^2) in float32, which cancels at small t.
        torch.testing.assert_close(scale, recorded, rtol=1e-6, atol=2e-7)


@pytest.mark.parametrize(
    ("weight", "factor"),
    [
        ("sigma2", lambda step: step["sigma"] ** 2),
        ("uniform", lambda step: torch.ones_like(step["sigma"])),
        ("alpha_over_sigma", lambda step: step["alpha"] / step["sigma"]),
    ],
)
def test_residual(step, weight, factor):
    prior = Recorded(step["epsilon_hat"])
    residual = weighted_residual(
        prior,
        step["action"],
        step["state"],
        step["t"].flatten(),
        step["noise"],
        as_weighting(weight),
        as_baseline("noise"),
    )
    w = factor(step).reshape(-1, 1)
    expected = w * (step["epsilon_hat"] - step["noise"])
    torch.testing.assert_close(residual, expected, rtol=1e-5, atol=1e-7)
    alpha, sigma = step["alpha"].reshape(-1, 1), step["sigma"].reshape(-1, 1)
    torch.testing.assert_close(
        prior.x_t, alpha * step["action"] + sigma * step["noise"], rtol=1e-5, atol=1e-6
    )


def test_objective(step):
    """Pure distillation on that step is the same residual, averaged over the batch."""
    objective = ScoreRegularizedObjective.from_value(None, Recorded(step["epsilon_hat"]))
    action = step["action"].clone().requires_grad_()
    objective(action, step["state"], t=step["t"].flatten(), noise=step["noise"]).loss.backward()
    w = step["sigma"].reshape(-1, 1) ** 2
    expected = w * (step["epsilon_hat"] - step["noise"]) / len(action)
    torch.testing.assert_close(action.grad, expected, rtol=1e-5, atol=1e-9)
