"""A generator with a learned fake prior ends where quadrature says the divergence is least."""

import copy
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from torch import Tensor, nn

from scoreregs import (
    GaussianMixturePrior,
    NetworkPrior,
    NoiseSchedule,
    RectifiedFlowSchedule,
    VPSchedule,
)
from scoreregs.distillation import Distillation
from scoreregs.errors import ArgumentError
from scoreregs.recipes import di_star, diff_instruct, sid, vsd
from scoreregs.times import DescendingTimes, ShiftedTimes, UniformTimes

WEIGHTS, MEANS, STDS = (0.3, 0.7), (-1.0, 1.5), (0.6, 0.4)
REWARD = 0.3


class Affine(nn.Module):
    """x = a + b z: a Gaussian N(a, b^2), whose divergence is an integral over one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))
        self.scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, z: Tensor, condition: None) -> Tensor:
        return self.shift + self.scale * z


class Fake(nn.Module):
    """A learned prediction that is linear in x_t, as that of a Gaussian is."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 2)
        )

    def forward(self, x_t: Tensor, t: Tensor, condition: None) -> Tensor:
        time = t[:, None].to(x_t.dtype)
        features = [torch.ones_like(time), time, torch.cos(3 * time), torch.sin(3 * time)]
        slope, offset = self.layers(torch.cat(features, 1)).chunk(2, 1)
        return slope * x_t + offset


def divergence(shift: float, scale: float, schedule: NoiseSchedule, t: np.ndarray) -> float:
    r"""The mean over t of w sigma / alpha KL(p_gen,t || p_t), w = sigma^2 / (alpha^2 + sigma^2).

    Its derivative is what VSD descends: that of a KL_t by x_t is the difference of the scores.
    """
    alpha, sigma = (s.numpy()[:, None] for s in schedule(torch.from_numpy(t)))
    std = np.sqrt(alpha**2 * scale**2 + sigma**2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    x_t = alpha * shift + std * nodes
    log_own = stats.norm.logpdf(x_t, alpha * shift, std)
    parts = [
        math.log(w) + stats.norm.logpdf(x_t, alpha * m, np.sqrt(alpha**2 * s**2 + sigma**2))
        for w, m, s in zip(WEIGHTS, MEANS, STDS, strict=True)
    ]
    kl = (log_own - np.logaddexp(*parts)) @ weights / math.sqrt(2 * math.pi)
    w = sigma**2 / (alpha**2 + sigma**2)
    return float((w * sigma / alpha)[:, 0] @ kl / len(t))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prediction", "schedule", "times"),
    [
        ("epsilon", VPSchedule(), UniformTimes(0.05, 0.6)),
        ("flow_prediction", RectifiedFlowSchedule(), ShiftedTimes(2.0, 0.05, 0.6)),
    ],
    ids=["epsilon on VP", "flow, shifted"],
)
def test_a_generator_reaches_the_least_divergence(prediction, schedule, times):
    """With a reward for larger x beside it, which moves the optimum."""
    middles = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    t = times.quantile(middles).numpy()

    def total(parameters: np.ndarray) -> float:
        return divergence(parameters[0], parameters[1], schedule, t) - REWARD * parameters[0]

    best = optimize.minimize(total, [0.5, 1.0], method="Nelder-Mead", options={"xatol": 1e-6})
    generator, network = Affine(), Fake()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    random = torch.Generator().manual_seed(0)
    covariances = torch.tensor(STDS)[:, None, None] ** 2
    prior = GaussianMixturePrior(WEIGHTS, torch.tensor(MEANS)[:, None], covariances, schedule)
    objective, fit = vsd(
        prior,
        NetworkPrior(network, schedule, prediction),
        value=lambda x, condition: REWARD * x[:, 0],
        times=times,
        generator=random,
    )
    optimizer = torch.optim.Adam(generator.parameters(), lr=4e-2)
    fake_optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    distillation = Distillation(
        generator, objective, fit, optimizer=optimizer, fake_optimizer=fake_optimizer, fake_steps=3
    )
    decays = [
        torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=500, eta_min=1e-4)
        for o in (optimizer, fake_optimizer)
    ]
    for _ in range(500):
        distillation.step(lambda: (torch.randn(512, 1, generator=random), None))
        for decay in decays:
            decay.step()
    found = np.array([generator.shift.item(), abs(generator.scale.item())])
    start = total(np.array([0.0, 0.3]))
    assert total(found) - best.fun < 0.01 * (start - best.fun)
    np.testing.assert_allclose(found, best.x, atol=0.05)


def test_a_step_is_several_of_the_fake_prior_and_one_of_the_generator():
    generator, calls = Affine(), []
    prior = GaussianMixturePrior([1.0], [[1.0]], [[[1.0]]], VPSchedule())
    network = Fake()
    objective, fit = vsd(prior, NetworkPrior(network, VPSchedule()))

    def counted(x: Tensor, condition: None) -> Tensor:
        assert not x.requires_grad
        calls.append(x)
        return fit(x, condition)

    before = generator.shift.item()
    distillation = Distillation(
        generator,
        objective,
        counted,
        optimizer=torch.optim.SGD(generator.parameters(), lr=0.1),
        fake_optimizer=torch.optim.SGD(network.parameters(), lr=0.0),
        fake_steps=4,
    )
    result = distillation.step(lambda: (torch.randn(16, 1), None))
    assert len(calls) == 4
    assert not torch.equal(calls[0], calls[1])
    assert result.fake_loss.shape == ()
    assert not result.fake_loss.requires_grad
    gradient = result.objective.gradient.mean().item()
    assert generator.shift.item() == pytest.approx(before - 0.1 * gradient, rel=1e-4)
    # The generator's loss leaves nothing behind in the fake prior but its own gradient.
    assert all(p.requires_grad for p in network.parameters())


def parts(**replaced: Any) -> dict[str, Any]:
    """The parts of a distillation."""
    generator, network = nn.Linear(1, 1), Fake()
    prior = GaussianMixturePrior([1.0], [[1.0]], [[[1.0]]], VPSchedule())
    objective, fit = vsd(prior, NetworkPrior(network, VPSchedule()))
    optimizer, fake_optimizer = (torch.optim.SGD(m.parameters(), 0.1) for m in (generator, network))
    usual = {
        "generator": lambda z, condition: generator(z),
        "objective": objective,
        "fit": fit,
        "optimizer": optimizer,
        "fake_optimizer": fake_optimizer,
    }
    found = {name: make(usual) for name, make in replaced.items()}
    return {**usual, "fake_steps": 1, **found}


def draw() -> tuple[Tensor, None]:
    return torch.randn(8, 1), None


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (
            {
                "optimizer": lambda u: u["fake_optimizer"],
                "fake_optimizer": lambda u: u["optimizer"],
            },
            "fake_optimizer none of whose parameters",
        ),
        ({"optimizer": lambda u: u["fake_optimizer"]}, "got an optimizer none of whose"),
        (
            {"generator": lambda u: lambda z, c: u["generator"](z, c).detach()},
            "got an optimizer none of whose",
        ),
        ({"fit": lambda u: u["objective"]}, "got ObjectiveResult from fit"),
        ({"fit": lambda u: lambda x, c: x}, r"got \(8, 1\) from fit"),
    ],
)
def test_what_would_train_nothing_is_refused_at_the_first_step(replaced, message):
    distillation = Distillation(**parts(**replaced))
    with pytest.raises(ArgumentError, match=message):
        distillation.step(draw)


def test_a_generator_without_condition_is_taken_as_it_is():
    network = nn.Linear(1, 1)
    given = parts(
        generator=lambda u: network,
        optimizer=lambda u: torch.optim.SGD(network.parameters(), lr=0.1),
    )
    before = network.bias.item()
    Distillation(**given).step(draw)
    assert network.bias.item() != before


@pytest.mark.parametrize(
    "recipe", [vsd, diff_instruct, sid, partial(di_star, lambda x, c: x[:, 0])]
)
def test_given_times_are_those_of_both_losses(recipe):
    schedule, seen = RectifiedFlowSchedule(), []

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return x_t

    prior, fake = (NetworkPrior(network, schedule, "flow_prediction", modules=()) for _ in range(2))
    for times, low, high in ((0.7, 0.7, 0.7), (ShiftedTimes(9.0, 0.2, 0.5), 9 / 13, 0.9)):
        _, fit = recipe(prior, fake, times=times)
        fit(torch.randn(64, 1))
        assert low - 1e-6 <= seen[-1].min() <= seen[-1].max() <= high + 1e-6
    # A state advances with the objective's calls alone, and a time means another level elsewhere.
    for other, times in (
        (fake, DescendingTimes(9)),
        (NetworkPrior(network, VPSchedule(), modules=()), 0.7),
    ):
        _, fit = recipe(prior, other, times=times)
        fit(torch.randn(64, 1))
        assert seen[-1].std() > 0.05


def test_no_fake_steps():
    prior = GaussianMixturePrior([1.0], [[1.0]], [[[1.0]]], VPSchedule())
    objective, fit = vsd(prior, copy.copy(prior))
    optimizer = torch.optim.SGD(Affine().parameters(), lr=0.1)
    with pytest.raises(ArgumentError, match="fake_steps=0"):
        Distillation(
            Affine(), objective, fit, optimizer=optimizer, fake_optimizer=optimizer, fake_steps=0
        )
