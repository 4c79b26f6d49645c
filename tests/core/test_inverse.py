"""Solvers of inverse problems beside the closed form of a Gaussian posterior and steps by hand."""

import pytest
import torch
from torch import Tensor

from scoreregs import GaussianMixturePrior, NetworkPrior, RectifiedFlowSchedule, VPSchedule
from scoreregs.errors import ArgumentError, PriorError, ValueFunctionError
from scoreregs.inverse import flow_dps, pnp_flow
from scoreregs.recipes import red_diff

FLOW = RectifiedFlowSchedule()
MEASURED, NOISE = torch.tensor([[2.0, -1.0]], dtype=torch.float64), 0.5
F64 = torch.float64


def prior(schedule=FLOW) -> GaussianMixturePrior:
    return GaussianMixturePrior([1.0], [[0.0, 0.0]], torch.eye(2)[None], schedule)


def value(x: Tensor, condition: object) -> Tensor:
    """The first coordinate is measured, with noise; the second is not."""
    return -0.5 * (x[:, 0] - MEASURED[0, 0]).square() / NOISE**2


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def denoised(x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The posterior mean of N(0, I)."""
    return alpha * x_t / (alpha**2 + sigma**2)


@pytest.mark.parametrize("schedule", [FLOW, VPSchedule()], ids=["flow", "VP"])
def test_pnp_flow_by_hand(schedule):
    x = torch.tensor([[0.3, -0.2], [1.0, 2.0]], dtype=F64)
    actual = pnp_flow(
        value, prior(schedule), x, steps=3, step_size=0.1, decay=2.0, draws=2, generator=seeded()
    )
    random = seeded()
    for t in torch.linspace(0.99, 0.01, 3, dtype=F64):
        alpha, sigma = schedule(t)
        gradient = torch.stack([-(x[:, 0] - 2.0) / NOISE**2, torch.zeros(2)], 1)
        z = x + 0.1 * (sigma / (alpha + sigma)) ** 2 * gradient
        noise = torch.randn(4, 2, generator=random, dtype=F64).reshape(2, 2, 2)
        x = denoised(alpha * z + sigma * noise, alpha, sigma).mean(0)
    torch.testing.assert_close(actual, x)


@pytest.mark.parametrize("schedule", [FLOW, VPSchedule()], ids=["flow", "VP"])
def test_flow_dps_by_hand(schedule):
    start = torch.zeros(2, 2, dtype=F64)
    actual = flow_dps(
        value, prior(schedule), start, steps=3, step_size=0.1, ascent=2, generator=seeded()
    )
    random, times = seeded(), torch.linspace(0.99, 0.01, 3, dtype=F64)
    alpha, sigma = schedule(times[0])
    x_t = (alpha**2 + sigma**2).sqrt() * torch.randn(2, 2, generator=random, dtype=F64)
    clean = x_t
    for number in range(3):
        alpha, sigma = schedule(times[number])
        clean = denoised(x_t, alpha, sigma)
        noise = (x_t - alpha * clean) / sigma
        fitted = clean.clone()
        for _ in range(2):
            fitted[:, 0] -= 0.1 * (fitted[:, 0] - 2.0) / NOISE**2
        clean = clean + sigma / (alpha + sigma) * (fitted - clean)
        if number < 2:
            alpha, sigma = schedule(times[number + 1])
            share = sigma / (alpha + sigma)
            fresh = torch.randn(2, 2, generator=random, dtype=F64)
            x_t = alpha * clean + sigma * (share.sqrt() * noise + (1 - share).sqrt() * fresh)
    torch.testing.assert_close(actual, clean)


def by_red_diff(start: Tensor) -> Tensor:
    x = start.clone().requires_grad_()
    objective = red_diff(value, prior(), steps=300, beta=1.0, generator=seeded())
    optimizer = torch.optim.Adam([x], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        objective(x).loss.backward()
        optimizer.step()
    return x.detach()


SOLVERS = {
    "RED-diff": by_red_diff,
    "PnP-Flow": lambda start: pnp_flow(
        value, prior(), start, steps=200, step_size=0.2, generator=seeded()
    ),
    "FlowDPS": lambda start: flow_dps(
        value, prior(), start, steps=200, step_size=0.1, generator=seeded()
    ),
}


@pytest.mark.parametrize("solve", SOLVERS.values(), ids=list(SOLVERS))
def test_goes_from_the_prior_to_the_measurement(solve):
    """Between both in what is measured, whose posterior mean is 1.6; the prior's elsewhere."""
    found = solve(torch.zeros(256, 2, dtype=F64)).mean(0)
    assert 1.0 < found[0].item() < 2.1
    assert abs(found[1].item()) < 0.2


def test_half_precision_and_inputs():
    start = torch.zeros(2, 2, dtype=torch.bfloat16)
    for solver in (pnp_flow, flow_dps):
        found = solver(value, prior(), start, steps=3, step_size=0.1, generator=seeded())
        assert found.dtype == torch.bfloat16
        assert found.isfinite().all()
    assert not start.any()


@pytest.mark.parametrize(
    ("solver", "options", "message"),
    [
        (pnp_flow, {"steps": 0}, "steps=0"),
        (pnp_flow, {"step_size": 0.0}, "step_size=0.0"),
        (pnp_flow, {"draws": 0}, "draws=0"),
        (pnp_flow, {"decay": -1.0}, "decay=-1.0"),
        (pnp_flow, {"times": (0.9, 0.1)}, r"\(0.9, 0.1\)"),
        (flow_dps, {"ascent": 0}, "ascent=0"),
        (flow_dps, {"times": (0.0, 0.9)}, "0 < low"),
    ],
)
def test_refuses(solver, options, message):
    with pytest.raises(ArgumentError, match=message):
        solver(value, prior(), torch.zeros(1, 2), **options)


@pytest.mark.parametrize("solver", [pnp_flow, flow_dps])
@pytest.mark.parametrize(
    ("scale", "measured", "message"),
    [(1.0, float("nan"), "measurements"), (1e9, 2.0, "smaller steps")],
    ids=["measured NaN", "diverging"],
)
def test_what_is_not_finite_is_no_restoration(solver, scale, measured, message):
    def unfit(x: Tensor) -> Tensor:
        return -0.5 * (scale * (x[:, 0] - measured)).square()

    with pytest.raises(ValueFunctionError, match=message):
        solver(unfit, prior(), torch.zeros(3, 2), steps=8, generator=seeded())


@pytest.mark.parametrize("solver", [pnp_flow, flow_dps])
def test_a_prior_that_is_not_finite_is_told_with_its_time(solver):
    late = NetworkPrior(lambda x_t, t: x_t / (t[:, None] < 0.5), FLOW, "flow_prediction")
    with pytest.raises(PriorError, match=r"prior at t = 0.99, in 3 of 3 rows"):
        solver(value, late, torch.ones(3, 2), steps=3, generator=seeded())


@pytest.mark.parametrize("schedule", [RectifiedFlowSchedule(), VPSchedule()])
def test_flow_dps_without_a_value_has_the_variance_of_its_recursion(schedule):
    """Of a Gaussian, where every step is linear; that is less than the Gaussian's own."""
    prior, variance, steps = GaussianMixturePrior([1.0], [[1.0]], [[[0.5]]], schedule), 0.5, 40
    times = torch.linspace(0.99, 0.01, steps, dtype=torch.float64)
    alpha, sigma = schedule(times)
    of_x_t = alpha[0] ** 2 + sigma[0] ** 2
    for i in range(steps - 1):
        gain = alpha[i] * variance / (alpha[i] ** 2 * variance + sigma[i] ** 2)
        share = sigma[i + 1] / (alpha[i + 1] + sigma[i + 1])
        noise = share.sqrt() * (1 - alpha[i] * gain) / sigma[i]
        kept = alpha[i + 1] * gain + sigma[i + 1] * noise
        of_x_t = kept**2 * of_x_t + sigma[i + 1] ** 2 * (1 - share)
    gain = alpha[-1] * variance / (alpha[-1] ** 2 * variance + sigma[-1] ** 2)
    samples = flow_dps(
        lambda x, condition: 0 * x.sum(-1),
        prior,
        torch.zeros(20_000, 1, dtype=torch.float64),
        steps=steps,
        generator=torch.Generator().manual_seed(0),
    )
    assert samples.var().item() == pytest.approx((gain**2 * of_x_t).item(), rel=0.03)
