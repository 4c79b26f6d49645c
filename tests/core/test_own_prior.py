"""Add your own prior.

If your diffusion model is a module or a function of (x_t, t, condition), there is nothing to write:
wrap it in `NetworkPrior`. Anything else becomes a prior by one method.
"""

import torch
from torch import nn

from scoreregs import NetworkPrior, ScorePrior, ScoreRegularizedObjective, VPSchedule, check_prior
from scoreregs.testing import PriorContract


# Say that you have a model of your own making: it takes its arguments in another order and by
# name, wants a time from 0 to 1000, and returns a dictionary.
class TheirModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.1)
        self.center = nn.Parameter(torch.tensor([1.0, -1.0]))

    def forward(self, *, timestep, sample, label):
        alpha, sigma = VPSchedule()(timestep[:, None] / 1000)
        mean = alpha * (self.center + label)  # the data is N(center + label, I)
        return {"noise": self.dropout(sigma * (sample - mean)), "other": None}


def their_data(count=256):
    generator = torch.Generator().manual_seed(0)
    label = torch.randn(count, 1, generator=generator)
    return torch.tensor([1.0, -1.0]) + label + torch.randn(count, 2, generator=generator), label


# Write one method: what the model returns at (x_t, t, condition). t has one float64 time for each
# sample, 0 is data and 1 is noise. Say under which schedule it was trained, and what it predicts.
class TheirPrior(ScorePrior):
    def __init__(self, model):
        super().__init__(VPSchedule(), prediction="epsilon")
        self.model = model

    def predict(self, x_t, t, condition=None):
        model = self.model.to(x_t.dtype)
        return model(timestep=1000 * t.to(x_t.dtype), sample=x_t, label=condition)["noise"]


# Before you trust it, ask whether it knows your data.
def test_it_is_plugged_in_right():
    data, label = their_data()
    assert check_prior(TheirPrior(TheirModel()), data, label).ok


# If it is not, the report names the likely cause. Here: the time was not scaled.
def test_what_a_mistake_looks_like():
    model = TheirModel().eval()
    data, label = their_data()
    prior = NetworkPrior(
        lambda x_t, t, c: model(timestep=t, sample=x_t, label=c)["noise"], VPSchedule()
    )
    report = check_prior(prior, data, label)
    assert not report.ok
    assert "time is scaled by 1000; set time_map" in str(report)


# Now it regularises anything. The model is put in eval mode, gets no gradient and is not owned.
def test_it_regularises():
    prior = TheirPrior(TheirModel())
    objective = ScoreRegularizedObjective.from_value(lambda x, c: x.sum(-1), prior, beta=0.02)
    _, label = their_data(8)
    x = torch.zeros(8, 2, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.05)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(300):
            optimizer.zero_grad()
            objective(x, label).loss.backward()
            optimizer.step()
    expected = torch.tensor([1.0, -1.0]) + label
    assert (x.detach() - expected).abs().mean().item() < 0.3
    assert prior.model.training


# Last, put it through the contract that every prior of the library keeps.
class TestTheirPrior(PriorContract):
    def make_prior(self):
        return TheirPrior(TheirModel())

    def make_data(self):
        return their_data()
