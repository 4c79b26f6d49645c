"""Temperatures that change: where they go, what they keep, and that they resume exactly."""

import math

import pytest
import torch
from torch import Tensor

from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.betas import AnnealedBeta, TargetBeta

SCHEDULE, T = VPSchedule(), 0.4
BATCH = 64


def standard_normal() -> GaussianMixturePrior:
    return GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], SCHEDULE)


def rising(x: Tensor, condition: object) -> Tensor:
    return x.sum(-1)


def objective_with(beta, seed: int = 0, **options) -> ScoreRegularizedObjective:
    generator = torch.Generator().manual_seed(seed)
    options = {"times": T, "generator": generator, "reduction": "sum", **options}
    return ScoreRegularizedObjective.from_value(rising, standard_normal(), beta=beta, **options)


def data_like(members: int = 1, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(members * BATCH, 1, generator=generator, dtype=torch.float64)


def solution(ratio: float) -> tuple[float, float]:
    r"""The x and beta of the budget's optimality conditions, by hand.

    For N(0, 1) the noise is predicted as sigma x_t, so that the squared error at x is
    sigma^2 alpha^2 x^2 + alpha^4, and alpha^2 at the data. Where the value x is held by
    sigma^2 times the residual, sigma alpha x, beta is sigma^3 alpha x.
    """
    alpha, sigma = (scale.item() for scale in SCHEDULE(torch.tensor([T], dtype=torch.float64)))
    x = math.sqrt((ratio - alpha**2) / sigma**2)
    return x, sigma**3 * alpha * x


@pytest.mark.parametrize("beta_on", ["prior", "value"])
def test_a_budget_is_held_at_the_temperature_of_its_multiplier(beta_on):
    """Two members of one batch, each with its own budget."""
    ratios = [1.5, 3.0]
    beta = TargetBeta(ratios, start=[0.1, 3.0], rate=0.05, decay=0.9)
    objective = objective_with(beta, members=2, beta_on=beta_on, draws=16)
    points = torch.zeros(2, 1, 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([points], lr=0.2 / BATCH)
    found = []
    for step in range(700):
        x = points.expand(2, BATCH, 1).reshape(-1, 1)
        optimizer.zero_grad()
        objective(x, data=data_like(2, seed=step)).loss.backward()
        optimizer.step()
        if step >= 400:
            found.append(torch.stack([points.detach().flatten(), beta.log_beta.exp().double()]))
    mean = torch.stack(found).mean(0)
    for member, ratio in enumerate(ratios):
        x, strength = solution(ratio)
        torch.testing.assert_close(mean[0, member].item(), x, rtol=0.03, atol=0)
        torch.testing.assert_close(mean[1, member].item(), strength, rtol=0.05, atol=0)
    torch.testing.assert_close(beta.measured_ratio, torch.tensor(ratios), rtol=0.1, atol=0)


def test_the_ascent_step_by_hand():
    """One call: beta as it was in the gradient, then a step on the logarithm of the excess."""
    beta = TargetBeta(2.0, start=0.5, rate=0.1)
    objective = objective_with(beta)
    x, noise, data = data_like(), data_like(seed=2), data_like(seed=3)
    gradient = objective(x, noise=noise, data=data).gradient
    fixed = objective_with(0.5)(x, noise=noise).gradient
    torch.testing.assert_close(gradient, fixed, rtol=1e-6, atol=1e-7)
    alpha, sigma = SCHEDULE(torch.tensor([T], dtype=torch.float64))

    def error(samples: Tensor) -> float:
        return (sigma * (alpha * samples + sigma * noise) - noise).square().mean().item()

    excess = math.log(error(x) / (2 * error(data)))
    assert abs(excess) < 1
    expected = math.log(0.5) - 0.1 * excess
    torch.testing.assert_close(beta.log_beta.item(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        beta.measured_ratio.item(), error(x) / error(data), rtol=1e-5, atol=0
    )


def test_data_may_be_left_out_after_the_first_call():
    """The running mean of the data's error stands in for it."""
    beta = TargetBeta(1.0)
    objective = objective_with(beta)
    objective(data_like(), data=data_like(seed=2))
    known, before = beta.data_error.clone(), beta.log_beta.clone()
    objective(data_like() + 5)
    assert torch.equal(beta.data_error, known)
    assert not torch.equal(beta.log_beta, before)


def test_a_step_is_bounded_where_x_is_absurd():
    beta = TargetBeta(1.0, rate=0.01)
    objective_with(beta)(1e6 * torch.ones(BATCH, 1, dtype=torch.float64), data=data_like())
    torch.testing.assert_close(beta.log_beta.item(), -0.01, rtol=1e-5, atol=0)


def test_a_budget_that_is_never_reached_leaves_beta_finite():
    beta = TargetBeta(1e6, rate=0.999, start=0.5)
    objective = objective_with(beta)
    for _ in range(40):
        objective(data_like(), data=data_like())
    torch.testing.assert_close(beta.log_beta.exp().item(), 0.5e4, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "make", [lambda: TargetBeta([1.0, 2.0], rate=0.1), lambda: AnnealedBeta([1.0, 2.0], 0.1, 7)]
)
def test_resumes_to_the_bit(make):
    """The first call after loading is one without data, which a new TargetBeta would refuse."""

    def call(objective: ScoreRegularizedObjective, step: int) -> Tensor:
        given = {"data": data_like(2, seed=step)} if step % 3 == 0 and learns else {}
        return objective(data_like(2, seed=90 + step), t=0.3, noise=data_like(2), **given).gradient

    learns = isinstance(make(), TargetBeta)
    through = objective_with(make(), members=2)
    for step in range(4):
        call(through, step)
    resumed = objective_with(make(), members=2)
    resumed.load_state_dict(through.state_dict())
    for step in range(4, 9):
        assert torch.equal(call(through, step), call(resumed, step))
    for name, number in through.state_dict().items():
        assert torch.equal(number, resumed.state_dict()[name])


def test_members_are_what_they_are_alone():
    together = TargetBeta([1.0, 2.0], rate=0.1)
    stacked = objective_with(together, members=2)
    parts = [data_like() + 1, 2 * data_like()]
    noise = data_like(seed=5)
    for _ in range(5):
        stacked(torch.cat(parts), noise=noise.repeat(2, 1), data=data_like(seed=6).repeat(2, 1))
    for member, ratio in enumerate((1.0, 2.0)):
        alone = TargetBeta(ratio, rate=0.1)
        objective = objective_with(alone)
        for _ in range(5):
            objective(parts[member], noise=noise, data=data_like(seed=6))
        torch.testing.assert_close(together.log_beta[member], alone.log_beta[0])


def test_eval_mode_and_given_temperatures_leave_it_alone():
    objective = objective_with(TargetBeta(1.0))
    objective(data_like(), data=data_like())
    before = {name: number.clone() for name, number in objective.state_dict().items()}
    objective(data_like() + 3, beta=torch.full((BATCH,), 0.5))
    objective.eval()
    objective(data_like() + 3, data=data_like())
    for name, number in objective.state_dict().items():
        assert torch.equal(number, before[name]), name


def test_annealing_is_geometric_and_ends():
    beta = AnnealedBeta(0.3, [0.003, 0.03], steps=5)
    seen = torch.stack([beta(torch.device("cpu")) for _ in range(7)])
    for column, end in enumerate((0.003, 0.03)):
        expected = [0.3 * (end / 0.3) ** min(i / 4, 1) for i in range(7)]
        torch.testing.assert_close(seen[:, column], torch.tensor(expected, dtype=torch.float64))


def test_annealing_is_the_temperature_of_each_call():
    objective = objective_with(AnnealedBeta(1.0, 0.01, steps=3))
    x, noise = data_like(), data_like(seed=2)
    for expected in (1.0, 0.1, 0.01, 0.01):
        fixed = objective_with(expected)(x, noise=noise).gradient
        torch.testing.assert_close(objective(x, noise=noise).gradient, fixed)


def test_a_number_takes_the_place_of_a_beta_and_back():
    objective = objective_with(1.0)
    assert not objective.state_dict()
    objective.beta = AnnealedBeta(2.0, 1.0, 3)
    assert list(objective.state_dict()) == ["beta.clock.step"]
    objective.beta = 0.5
    assert objective.beta == 0.5
    assert not objective.state_dict()


@pytest.mark.parametrize("decay", [0.0, 0.9])
@pytest.mark.parametrize("rows", [[2], list(range(BATCH))])
def test_a_budget_learns_nothing_from_a_sample_that_is_not_finite(decay, rows):
    beta = TargetBeta(1.5, decay=decay)
    whole, spoilt = torch.ones(BATCH), torch.ones(BATCH)
    beta.observe(2 * whole, whole)
    spoilt[rows] = math.nan
    beta.observe(2 * spoilt, spoilt)
    assert bool(beta.log_beta.isfinite().all())
    beta.observe(2 * whole, whole)
    torch.testing.assert_close(beta.measured_ratio, torch.tensor([2.0]))
