"""Baselines: by quadrature, whether each changes the expected gradient and into what.

The ground truth is the gradient of E_t w sigma / alpha KL (Eq. 14) of one mixture or another.
"""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreregs import GaussianMixturePrior, NetworkPrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.baselines import (
    Baseline,
    NoBaseline,
    NoiseBaseline,
    OptimalNoiseBaseline,
    PriorBaseline,
    ReferenceBaseline,
    TrainedBaseline,
    as_baseline,
)
from scoreregs.draws import weigh
from scoreregs.errors import ArgumentError
from scoreregs.times import DescendingTimes, UniformTimes
from tests.core.gaussians import conditional_gaussian
from tests.core.ground_truth import (
    MIXTURES,
    WEIGHTINGS,
    WEIGHTS,
    regulariser_gradient,
    time_and_noise_nodes,
)

MIXTURE, OTHER = MIXTURES["1-D multimodal"], MIXTURES["1-D unimodal"]
POINT, REFERENCE = np.array([0.3]), np.array([-0.6])


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def learned() -> OptimalNoiseBaseline:
    """One whose coefficients are anything but what they should be."""
    baseline = OptimalNoiseBaseline(bins=7)
    baseline.excess.copy_(torch.linspace(-2, 1, 7))
    return baseline


class Half(Baseline):
    def remainder(self, draw, log_weight):
        return weigh(log_weight, draw.noise / 2)


@dataclass(frozen=True)
class Row:
    """A baseline and what it takes from the expected gradient: that of `prior` at `at`."""

    make: Callable[[], Baseline]
    prior: str | None = None
    at: np.ndarray | None = None


# A row per baseline. None: the expected gradient is unchanged.
BASELINES: dict[str, Row] = {
    "noise": Row(NoiseBaseline),
    "none": Row(NoBaseline),
    "optimal, fresh": Row(OptimalNoiseBaseline),
    "optimal, learned": Row(learned),
    "of your own": Row(Half),
    "prior": Row(lambda: PriorBaseline(OTHER.prior()), "1-D unimodal", POINT),
    "trained": Row(lambda: TrainedBaseline(OTHER.prior()), "1-D unimodal", POINT),
    "reference": Row(
        lambda: ReferenceBaseline(torch.from_numpy(REFERENCE)[None]), "1-D multimodal", REFERENCE
    ),
}


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("row", BASELINES.values(), ids=list(BASELINES))
def test_expected_gradient(row, weight):
    t, noise, share = time_and_noise_nodes(36, 100, 1)
    objective = ScoreRegularizedObjective.from_value(
        None, MIXTURE.prior(), weighting=WEIGHTINGS[weight], baseline=row.make()
    )
    x = torch.from_numpy(POINT).expand_as(noise)
    actual = share @ objective(x, t=t, noise=noise).gradient
    expected = regulariser_gradient(MIXTURE, POINT, WEIGHTS[weight], 40)
    if row.prior is not None:
        expected = expected - regulariser_gradient(MIXTURES[row.prior], row.at, WEIGHTS[weight], 40)
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("row", BASELINES.values(), ids=list(BASELINES))
def test_each_draw_is_weighted_like_a_batch_of_its_own(row):
    t = torch.linspace(0.1, 0.9, 6, dtype=torch.float64).reshape(3, 2)
    noise = torch.randn(3, 2, 1, generator=seed(), dtype=torch.float64)
    x = torch.tensor([[0.3], [-0.4]], dtype=torch.float64)

    def build() -> ScoreRegularizedObjective:
        return ScoreRegularizedObjective.from_value(
            None, MIXTURE.prior(), baseline=row.make()
        ).eval()

    together = build()(x, t=t, noise=noise).gradient
    single = [build()(x, t=t[k], noise=noise[k]).gradient for k in range(3)]
    torch.testing.assert_close(together, torch.stack(single).mean(0))


class TestOptimalNoise:
    S2, D = 2.0, 8

    def prior(self) -> GaussianMixturePrior:
        covariance = self.S2 * torch.eye(self.D, dtype=torch.float64)
        return GaussianMixturePrior([1.0], [[0.0] * self.D], covariance[None], VPSchedule())

    def build(self, **options) -> ScoreRegularizedObjective:
        options.setdefault("baseline", OptimalNoiseBaseline(bins=10))
        options.setdefault("generator", seed())
        return ScoreRegularizedObjective.from_value(None, self.prior(), **options)

    def test_learns_the_closed_form(self):
        """c*(t) = sigma^2 / (alpha^2 s^2 + sigma^2) for N(0, s^2), here its mean over a bin."""
        baseline = OptimalNoiseBaseline(bins=10)
        objective = self.build(baseline=baseline, draws=4)
        x = self.prior().draw(256, generator=seed(1))
        for _ in range(200):
            objective(x)
        t = torch.linspace(0.02, 0.98, 9601, dtype=torch.float64)
        alpha, sigma = VPSchedule()(t)
        c = sigma**2 / (alpha**2 * self.S2 + sigma**2)
        bins = (t * 10).long()
        expected = torch.stack([c[bins == k].mean() for k in range(10)]).float()
        torch.testing.assert_close(baseline.coefficient, expected, rtol=0, atol=0.01)

    def test_a_batch_is_not_used_for_itself(self):
        """The residual is that of the coefficients before the call; the batch is in those after."""
        baseline = OptimalNoiseBaseline(bins=10)
        objective = self.build(baseline=baseline)
        x = self.prior().draw(16, generator=seed(1))
        t = torch.linspace(0.05, 0.95, 16, dtype=torch.float64)
        for call in range(3):
            noise = torch.randn(16, self.D, generator=seed(call), dtype=torch.float64)
            before = baseline.coefficient.clone()
            actual = objective(x, t=t, noise=noise).gradient
            plain = self.build(baseline="noise")(x, t=t, noise=noise).gradient
            rest = 1 - before[(t * 10).long()].double()[:, None]
            sigma = VPSchedule()(t)[1][:, None]
            torch.testing.assert_close(
                actual, plain + sigma**2 * rest * noise, rtol=1e-6, atol=1e-6
            )
            assert (baseline.coefficient != before).all()

    def test_starts_as_the_noise_baseline(self):
        x = self.prior().draw(16, generator=seed(1))
        assert torch.equal(self.build()(x).gradient, self.build(baseline="noise")(x).gradient)

    def test_stands_still_in_eval_mode_and_between_visits(self):
        objective = self.build()
        x = self.prior().draw(4, generator=seed(1))
        objective(x, t=0.25)
        state = copy.deepcopy(objective.state_dict())
        objective.eval()(x, t=0.25)
        for name, tensor in objective.state_dict().items():
            assert torch.equal(tensor, state[name])
        objective.train()(x, t=0.75)
        changed = objective.state_dict()["baseline.power"] != state["baseline.power"]
        assert changed.nonzero().flatten().tolist() == [7]

    def test_forgets_what_is_long_ago(self):
        """The mean weighs a batch by decay to the number of later visits."""
        baseline = OptimalNoiseBaseline(bins=1, decay=0.5)
        objective = self.build(baseline=baseline)
        x = torch.zeros(1, self.D, dtype=torch.float64)
        excess, power = 0.0, 1.0
        for call in range(4):
            noise = torch.randn(1, self.D, generator=seed(call), dtype=torch.float64)
            t = torch.tensor([0.1 + 0.2 * call], dtype=torch.float64)
            alpha, sigma = VPSchedule()(t)
            c = (sigma**2 / (alpha**2 * self.S2 + sigma**2)).item()
            excess = excess / 2 + (c - 1) * noise.square().mean().item()
            power = power / 2 + noise.square().mean().item()
            objective(x, t=t, noise=noise)
            assert baseline.coefficient.item() == pytest.approx(1 + excess / power, rel=1e-5)

    def test_a_singular_time_teaches_nothing(self):
        """At sigma = 0 a predicted sample has a finite weighted residual and no finite noise."""
        prior = NetworkPrior(lambda x_t, t, condition: 0.5 * x_t, VPSchedule(), "sample")
        objective = ScoreRegularizedObjective.from_value(
            None, prior, baseline="optimal_noise", times=(0.0, 1.0), weighting="sigma2"
        )
        before = copy.deepcopy(objective.state_dict())
        assert objective(torch.ones(2, 2), t=0.0).gradient.isfinite().all()
        for name, tensor in objective.state_dict().items():
            assert torch.equal(tensor, before[name])

    def test_each_objective_has_its_own(self):
        first, second = (self.build(baseline="optimal_noise") for _ in range(2))
        first(torch.ones(2, self.D))
        assert (second.state_dict()["baseline.excess"] == 0).all()


def test_resuming_equals_an_uninterrupted_run_bit_for_bit():
    """With every kind of state at once, through a file without pickled code."""

    def build() -> ScoreRegularizedObjective:
        return ScoreRegularizedObjective.from_value(
            lambda x, c: -(x - c).square().sum(-1),
            conditional_gaussian(),
            baseline=OptimalNoiseBaseline(bins=5),
            times=DescendingTimes(6),
            generator=seed(3),
        )

    def advance(x: Tensor, objective: ScoreRegularizedObjective, calls: int) -> Tensor:
        for _ in range(calls):
            x = x - 0.1 * objective(x, torch.ones_like(x)).gradient
        return x

    start = torch.randn(4, 2, generator=seed())
    whole = advance(start, build(), 6)
    objective = build()
    half = advance(start, objective, 3)
    file = io.BytesIO()
    assert objective.generator is not None
    torch.save((objective.state_dict(), objective.generator.get_state(), half), file)
    file.seek(0)
    state, generator, half = torch.load(file, weights_only=True)
    resumed = build()
    resumed.load_state_dict(state)
    assert resumed.generator is not None
    resumed.generator.set_state(generator)
    assert torch.equal(advance(half, resumed, 3), whole)


# Relative to independent times with the noise baseline, 4 draws of one sample, sigma^2 weight. The
# figures are of one such Gaussian; how much each gains differs with its covariance and the sample.
VARIANCE = {
    "none": ({"baseline": "none"}, 29.2),
    "stratified": ({"times": UniformTimes(points="stratified")}, 0.82),
    "low-discrepancy": ({"times": UniformTimes(points="low_discrepancy")}, 0.78),
    "optimal": ({"baseline": "optimal_noise"}, 0.21),
    "stratified and optimal": (
        {"times": UniformTimes(points="stratified"), "baseline": "optimal_noise"},
        0.04,
    ),
    "antithetic": ({"noiser": "antithetic"}, 0.43),
}


class TestVariance:
    def trace(self, **options) -> float:
        """The trace of the covariance of one sample's estimate, over 6400 estimates."""
        model = TestOptimalNoise()
        x = model.prior().draw(1, generator=seed(1)).expand(64, model.D)
        objective = model.build(draws=4, **{"baseline": "noise", **options})
        if options.get("baseline") == "optimal_noise":
            for _ in range(60):
                objective(x)
        gradients = torch.cat([objective(x).gradient for _ in range(100)])
        return gradients.var(0).sum().item()

    @pytest.mark.parametrize(("options", "factor"), VARIANCE.values(), ids=list(VARIANCE))
    def test_is_of_the_published_order(self, options, factor):
        assert self.trace(**options) / self.trace() == pytest.approx(factor, rel=0.8)
        assert (self.trace(**options) < self.trace()) == (factor < 1)

    def test_low_discrepancy_times_with_the_optimal_noise_leave_almost_nothing(self):
        """For a Gaussian: what is left of the noise is smooth in t alone."""
        options = {"times": UniformTimes(points="low_discrepancy"), "baseline": "optimal_noise"}
        assert self.trace(**options) / self.trace() < 0.01


class TestConditions:
    """The baseline's own condition and reference, in batches of one or of the objective's."""

    X, C, N = (torch.randn(3, 2, generator=seed(k), dtype=torch.float64) for k in range(3))
    T = torch.tensor([[0.2, 0.5, 0.8], [0.3, 0.6, 0.9]], dtype=torch.float64)

    def gradient(self, baseline: Baseline, c: Tensor) -> Tensor:
        objective = ScoreRegularizedObjective.from_value(
            None, conditional_gaussian(), baseline=baseline
        )
        return objective(self.X, c, t=self.T, noise=self.N.expand(2, 3, 2)).gradient

    def test_the_same_condition_leaves_nothing(self):
        prior = conditional_gaussian()
        for baseline in (
            PriorBaseline(prior),
            PriorBaseline(prior, self.C),
            ReferenceBaseline(self.X),
            ReferenceBaseline(self.X, self.C),
        ):
            gradient = self.gradient(baseline, self.C)
            torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)

    def test_a_batch_of_one_is_repeated(self):
        prior, one = conditional_gaussian(), self.C[:1]
        for make in (
            lambda c: PriorBaseline(prior, c),
            lambda c: ReferenceBaseline(self.N, c),
            lambda c: ReferenceBaseline(c),
        ):
            torch.testing.assert_close(
                self.gradient(make(one), self.C), self.gradient(make(one.expand(3, 2)), self.C)
            )

    def test_may_change_between_calls(self):
        baseline = ReferenceBaseline(self.N, self.N)
        baseline.reference, baseline.condition = self.X, self.C
        assert self.gradient(baseline, self.C).abs().max() < 1e-12


def call(baseline, condition: Tensor | None = None):
    x = torch.ones(3, 2)
    prior = conditional_gaussian()
    objective = ScoreRegularizedObjective.from_value(None, prior, baseline=baseline)
    return objective(x, x if condition is None else condition)


BAD = {
    "unknown": (lambda: as_baseline("eps"), ("'eps'", "'optimal_noise'")),  # pyright: ignore[reportArgumentType]
    "no bins": (lambda: OptimalNoiseBaseline(bins=0), ("bins=0", "at least 1")),
    "decay of one": (lambda: OptimalNoiseBaseline(decay=1.0), ("decay=1.0", "[0, 1)")),
    "a network as the prior": (
        lambda: PriorBaseline(torch.nn.Identity()),  # pyright: ignore[reportArgumentType]
        ("Identity", "scoreregs.NetworkPrior"),
    ),
    "a network as the trained prior": (
        lambda: TrainedBaseline(torch.nn.Identity()),  # pyright: ignore[reportArgumentType]
        ("Identity", "scoreregs.NetworkPrior"),
    ),
    "a condition of another batch": (
        lambda: call(PriorBaseline(conditional_gaussian(), torch.ones(2, 2))),
        ("(2, 2)", "1 or 3 rows"),
    ),
    "a reference of another batch": (
        lambda: call(ReferenceBaseline(torch.ones(2, 2))),
        ("(2, 2)", "1 or 3 rows"),
    ),
    "a reference of another event": (
        lambda: call(ReferenceBaseline(torch.ones(3, 1))),
        ("(3, 1)", "(1, 2)"),
    ),
    "a reference without a batch": (
        lambda: call(ReferenceBaseline(torch.tensor(1.0))),
        ("()", "[None]"),
    ),
    "no reference": (
        lambda: call(ReferenceBaseline(None)),  # pyright: ignore[reportArgumentType]
        ("NoneType", "floating point tensor"),
    ),
}


@pytest.mark.parametrize(("act", "says"), BAD.values(), ids=list(BAD))
def test_bad_input(act, says):
    with pytest.raises(ArgumentError) as caught:
        act()
    for words in ("got", "expected", *says):
        assert words in str(caught.value)
