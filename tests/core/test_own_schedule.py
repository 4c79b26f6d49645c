"""Add your own noise schedule.

A schedule is one method: the scales of data and noise at a time t, where t = 0 is data and t = 1 is
noise. Everything else (derivatives, the log signal-to-noise ratio, its inverse) is derived from it.
"""

import torch

from scoreregs import (
    GaussianMixturePrior,
    NoiseSchedule,
    ScoreRegularizedObjective,
    VPSchedule,
)
from scoreregs.testing import ScheduleContract


# Say that your model was trained with noise that grows along a quarter of a circle. Write down
# alpha and sigma, in torch, for a tensor t of any shape.
class CircleSchedule(NoiseSchedule):
    def __call__(self, t):
        return torch.cos(t * torch.pi / 2), torch.sin(t * torch.pi / 2)


# That is all. It works wherever a schedule does.
def test_in_an_objective():
    prior = GaussianMixturePrior([1.0], [[2.0]], [[[0.5]]], CircleSchedule())
    objective = ScoreRegularizedObjective.from_value(None, prior)
    x = torch.zeros(64, 1, requires_grad=True)
    objective(x).loss.backward()
    assert x.grad is not None
    assert x.grad.mean().item() < 0  # minus the gradient points to the mode at 2


# Where you know a closed form that is more exact than differentiation and bisection, override it.
class FastCircleSchedule(CircleSchedule):
    def t_from_log_snr(self, log_snr):
        return torch.atan(torch.exp(-log_snr.double() / 2)) * 2 / torch.pi


# One gradient, whichever schedule says it: at equal log-SNR, variance-preserving schedules agree.
def test_agrees_with_vp_at_the_same_log_snr():
    x, noise = torch.randn(2, 8, 1, generator=torch.Generator().manual_seed(0)).double()
    gradients = []
    for schedule in (VPSchedule(), CircleSchedule(), FastCircleSchedule()):
        prior = GaussianMixturePrior([1.0], [[2.0]], [[[0.5]]], schedule)
        t = schedule.t_from_log_snr(torch.linspace(4, -4, 8))
        objective = ScoreRegularizedObjective.from_value(None, prior)
        gradients.append(objective(x, t=t, noise=noise).gradient)
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])


# Last, put it through the contract: shapes and dtypes, both ends, strict monotony, and every
# overridden method against the definition.
class TestCircle(ScheduleContract):
    def make_schedule(self):
        return CircleSchedule()


class TestFastCircle(ScheduleContract):
    def make_schedule(self):
        return FastCircleSchedule()
