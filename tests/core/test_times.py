"""Samplers of the time: their distribution against scipy, their points, and what they remember."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from scoreregs import (
    CosineSchedule,
    EDMSchedule,
    RectifiedFlowSchedule,
    ScoreRegularizedObjective,
    VESchedule,
    VPSchedule,
)
from scoreregs.errors import ArgumentError
from scoreregs.times import (
    AdaptiveTimes,
    AnnealedTimes,
    DescendingTimes,
    FixedTime,
    ImportanceTimes,
    LogLogisticTimes,
    LogNormalTimes,
    LogSNRTimes,
    QuantileTimes,
    ShiftedTimes,
    TimeSampler,
    UniformTimes,
    as_times,
)
from scoreregs.times.points import _NAMED as POINTS
from scoreregs.times.points import PointsLike
from scoreregs.weightings import AlphaOverSigma, CustomWeighting, Sigma2, Uniform
from tests.core.gaussians import conditional_gaussian

CPU = torch.device("cpu")
VP = VPSchedule()
U = torch.linspace(0, 1, 101, dtype=torch.float64)
SCHEDULES = [VP, VESchedule(), RectifiedFlowSchedule(), CosineSchedule(), EDMSchedule()]


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


# A row per sampler, as a function of its points.
SAMPLERS: dict[str, Callable[[PointsLike], TimeSampler]] = {
    "uniform": lambda points: UniformTimes(0.1, 0.7, points),
    "log-SNR": lambda points: LogSNRTimes(VP, -3, 5, points),
    "log-normal": lambda points: LogNormalTimes(VP, -1.0, 1.5, 0.05, 0.9, points),
    "shifted": lambda points: ShiftedTimes(3.0, 0.05, 0.9, points),
    "log-logistic": lambda points: LogLogisticTimes(VP, -1.0, 0.8, 0.05, 0.9, points),
    "importance": lambda points: ImportanceTimes(VP, Sigma2(), 0.05, 0.9, points),
    "adaptive": lambda points: AdaptiveTimes(Sigma2(), 0.05, 0.9, points),
    "annealed": lambda points: AnnealedTimes((0.02, 0.98), (0.1, 0.5), 10, points),
    "descending": lambda points: DescendingTimes(10),
    "fixed": lambda points: FixedTime(0.3),
}


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("make", SAMPLERS.values(), ids=list(SAMPLERS))
class TestEverySampler:
    def test_shape_range_and_precision(self, make, points):
        sampler = make(points)
        for draws, batch in ((1, 1), (3, 5), (1, 1000)):
            t = sampler.sample(draws, batch, CPU, seed())
            assert t.shape == (draws, batch)
            assert t.dtype == torch.float64
            assert sampler.low <= t.min()
            assert t.max() <= sampler.high

    def test_a_seed_gives_the_same_bits_and_leaves_the_global_generator_alone(self, make, points):
        state = torch.get_rng_state()
        first, second = (make(points).sample(2, 6, CPU, seed(5)) for _ in range(2))
        assert torch.equal(first, second)
        assert torch.equal(torch.get_rng_state(), state)

    def test_objective_takes_it(self, make, points):
        x, c = torch.randn(6, 2, generator=seed()), torch.zeros(6, 2)
        objective = ScoreRegularizedObjective.from_value(
            None, conditional_gaussian(), times=make(points), draws=2, generator=seed(5)
        )
        diagnostics = objective(x, c, diagnostics=True).diagnostics
        assert diagnostics is not None
        assert torch.equal(diagnostics.t, make(points).sample(2, 6, CPU, seed(5)))


class TestPoints:
    @pytest.mark.parametrize("name", POINTS)
    def test_each_is_uniform_by_itself(self, name):
        """Of every sample the mean over its draws is unbiased, also in the smallest batch."""
        generator = seed()
        u = torch.stack([POINTS[name](2, 3, CPU, generator) for _ in range(4000)])
        for row in range(3):
            drawn = u[:, :, row].flatten().numpy()
            assert drawn.min() >= 0
            assert drawn.max() < 1
            assert stats.kstest(drawn, "uniform").pvalue > 1e-3

    def test_stratified_has_one_in_each_cell(self):
        draws, batch = 4, 5
        for trial in range(20):
            u = POINTS["stratified"](draws, batch, CPU, seed(trial))
            cells = (u * draws * batch).long()
            assert sorted(cells.flatten().tolist()) == list(range(draws * batch))
            parts = (u * draws).long()
            assert torch.equal(parts, torch.arange(draws)[:, None].expand(draws, batch))

    def test_stratified_deals_cells_by_chance(self):
        """A sample that always had the same cell would see only its part of the times."""
        u = torch.stack([POINTS["stratified"](1, 8, CPU, seed(i))[0] for i in range(400)])
        counts = torch.zeros(8, 8)
        for row in range(8):
            counts[row] = torch.bincount((u[:, row] * 8).long(), minlength=8)
        assert counts.min() > 20

    def test_stratified_jitters(self):
        u = torch.cat([POINTS["stratified"](1, 8, CPU, seed(i)) for i in range(400)])
        assert stats.kstest((u * 8 % 1).flatten().numpy(), "uniform").pvalue > 1e-3

    def test_low_discrepancy_is_a_shifted_grid(self):
        draws, batch = 4, 5
        u = POINTS["low_discrepancy"](draws, batch, CPU, seed())
        gaps = u.flatten().sort()[0].diff()
        torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / 20))
        of_a_sample = u.sort(0)[0].diff(dim=0)
        torch.testing.assert_close(of_a_sample, torch.full_like(of_a_sample, 1 / 4))

    def test_of_your_own(self):
        def middles(draws, batch, device, generator):
            return (torch.arange(draws, dtype=torch.float64)[:, None].expand(-1, batch) + 0.5) / 2

        t = UniformTimes(0.0, 1.0, middles).sample(2, 3, CPU, None)
        assert t.tolist() == [[0.25] * 3, [0.75] * 3]


class TestDistributions:
    def test_uniform(self):
        torch.testing.assert_close(UniformTimes(0.2, 0.6).quantile(U), 0.2 + 0.4 * U)

    @pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
    def test_log_snr(self, schedule):
        times = LogSNRTimes(schedule, -3.0, 5.0)
        t = times.quantile(U)
        assert (t.diff() > 0).all()
        torch.testing.assert_close(schedule.log_snr(t), 5.0 - 8.0 * U, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(t[[0, -1]], torch.tensor([times.low, times.high]).double())

    @pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
    @pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.1, 0.6)])
    def test_log_normal(self, schedule, bounds):
        mean, std = -1.2, 1.2
        t = LogNormalTimes(schedule, mean, std, *bounds).quantile(U[1:-1])
        alpha, sigma = schedule(torch.tensor(bounds, dtype=torch.float64))
        low, high = torch.log(sigma / alpha).tolist()
        law = stats.truncnorm((low - mean) / std, (high - mean) / std, mean, std)
        log_sigma = -schedule.log_snr(t) / 2
        np.testing.assert_allclose(log_sigma, law.ppf(U[1:-1]), rtol=1e-7, atol=1e-7)

    @pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
    @pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.1, 0.6)])
    def test_log_logistic(self, schedule, bounds):
        t = LogLogisticTimes(schedule, -0.7, 0.5, *bounds).quantile(U[1:-1])
        law = stats.logistic(-0.7, 0.5)
        alpha, sigma = schedule(torch.tensor(bounds, dtype=torch.float64))
        low, high = law.cdf(torch.log(sigma / alpha).numpy())
        expected = law.ppf(low + (high - low) * U[1:-1].numpy())
        np.testing.assert_allclose(-schedule.log_snr(t) / 2, expected, rtol=1e-7, atol=1e-7)

    def test_a_shift_lowers_the_log_snr_of_rectified_flow_by_twice_its_logarithm(self):
        flow = RectifiedFlowSchedule()
        plain, shifted = (ShiftedTimes(s, 0.02, 0.98).quantile(U) for s in (1.0, 3.0))
        torch.testing.assert_close(plain, 0.02 + 0.96 * U)
        drop = flow.log_snr(plain) - flow.log_snr(shifted)
        torch.testing.assert_close(drop, torch.full_like(drop, 2 * math.log(3.0)))

    def test_ends_of_a_log_normal_are_its_bounds(self):
        for schedule in SCHEDULES:
            ends = LogNormalTimes(schedule).quantile(U[[0, -1]])
            torch.testing.assert_close(ends, U[[0, -1]], rtol=0, atol=1e-9)

    def test_one_mixture_gets_one_gradient_through_every_schedule(self):
        """At equal noise and log-SNR, from whatever schedule its times are drawn."""
        x, c = torch.randn(6, 2, generator=seed()).double(), torch.ones(6, 2).double()
        gradients = []
        for schedule in SCHEDULES:
            objective = ScoreRegularizedObjective.from_value(
                None,
                conditional_gaussian(schedule),
                times=LogSNRTimes(schedule, -4, 4),
                generator=seed(1),
            )
            gradients.append(objective(x, c).gradient)
        for gradient in gradients[1:]:
            torch.testing.assert_close(gradient, gradients[0], rtol=1e-7, atol=1e-9)


def adapted(make_moment: Callable[[Tensor], Tensor], batches: int = 300) -> AdaptiveTimes:
    """Adaptive times that have seen residuals of a known size, as an objective shows them."""
    times, generator = AdaptiveTimes(Uniform(), 0.1, 0.9, bins=16), seed()
    for _ in range(batches):
        t = times.sample(1, 256, CPU, generator)[0]
        weight = times.weight(VP.at(t))
        times.observe(t, (weight * make_moment(t).sqrt())[:, None].float())
    return times


class TestAdaptive:
    def test_starts_uniform(self):
        np.testing.assert_allclose(AdaptiveTimes(Sigma2(), 0.1, 0.9).quantile(U), 0.1 + 0.8 * U)

    def test_learns_the_root_of_the_second_moment(self):
        """Four fifths in proportion to it, flat over half a bin at the ends; the rest uniform."""
        times = adapted(lambda t: t**4)
        share = np.linspace(0, 1, 8193)[:-1] + 0.5 / 8192
        expected = (0.1 + 0.8 * share) ** 2
        expected = 0.2 + 0.8 * expected / expected.mean()
        np.testing.assert_allclose(times.density(CPU), expected, atol=0.13)

    def test_its_weight_gives_the_expectation_of_uniform_times(self):
        times = adapted(lambda t: (6 * t).exp())
        drawn = times.quantile((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000)
        mean = (times.weight(VP.at(drawn)) * drawn.sin()).mean()
        assert mean == pytest.approx((np.cos(0.1) - np.cos(0.9)) / 0.8, rel=1e-5)

    def test_lowers_the_second_moment(self):
        """That of the estimate under its times, against that under uniform ones."""
        times = adapted(lambda t: (10 * t).exp())
        drawn = times.quantile((torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000)
        found = (times.weight(VP.at(drawn)).square() * (10 * drawn).exp()).mean()
        uniform = (np.exp(9) - np.exp(1)) / 10 / 0.8
        best = ((np.exp(4.5) - np.exp(0.5)) / 5 / 0.8) ** 2
        assert best < found < 1.15 * best < 0.75 * uniform

    def test_an_objective_shows_it_its_residuals_in_training_only(self):
        times = AdaptiveTimes(Sigma2())
        objective = ScoreRegularizedObjective.from_value(
            None, conditional_gaussian(), times=times, weighting=times.weight, generator=seed()
        )
        x, c = torch.randn(64, 2, generator=seed()), torch.zeros(64, 2)
        objective.eval()(x, c)
        assert times.visits.sum() == 0
        objective.train()(x, c)
        assert times.visits.sum() == 64
        assert "times.moment" in objective.state_dict()

    def test_what_it_cannot_use_is_left_out(self):
        times = AdaptiveTimes(Sigma2(), 0.2, 0.8)
        t = torch.tensor([0.1, 0.5, 0.5, 0.9], dtype=torch.float64)
        times.observe(t, torch.tensor([[1.0], [2.0], [math.inf], [1.0]]))
        assert times.visits.sum() == 1
        assert times.moment.sum() == 4

    def test_a_time_that_was_never_visited_is_still_drawn(self):
        times = AdaptiveTimes(Sigma2(), 0.0, 1.0, bins=4)
        times.observe(torch.full((8,), 0.1, dtype=torch.float64), torch.ones(8, 1))
        np.testing.assert_allclose(times.density(CPU), 1.0, rtol=1e-6)


class TestImportance:
    @pytest.mark.parametrize("weighting", [Sigma2(), Uniform(), AlphaOverSigma()])
    @pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
    def test_its_weight_gives_the_expectation_of_uniform_times(self, schedule, weighting):
        times = ImportanceTimes(schedule, weighting, 0.1, 0.9)
        u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
        drawn = times.quantile(u)
        nodes, shares = np.polynomial.legendre.leggauss(60)
        even = torch.from_numpy(0.5 + 0.4 * nodes)
        for function in (torch.ones_like, torch.sin, lambda t: (3 * t).exp()):
            mean = (times.weight(schedule.at(drawn)) * function(drawn)).mean()
            expected = (weighting(schedule.at(even)) * function(even)) @ torch.from_numpy(
                shares / 2
            )
            assert mean == pytest.approx(float(expected), rel=1e-5)

    def test_has_its_density(self):
        """Three tenths are uniform, the rest sigma^3 alpha for sigma^2 on VP."""
        t = ImportanceTimes(VP, Sigma2(), 0.0, 1.0).quantile(U)
        grid = np.linspace(0, 1, 20_001)
        alpha = np.exp(-(grid**2) * 19.9 / 4 - grid * 0.05)
        size = (1 - alpha**2) ** 1.5 * alpha
        density = 0.3 + 0.7 * size / np.trapezoid(size, grid)
        below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
        np.testing.assert_allclose(np.interp(t.numpy(), grid, below), U, atol=1e-5)

    def test_contributions_to_a_standard_normal_are_nearly_equal(self):
        """Under c*(t) = sigma^2 the residual at x is w sigma alpha x: what p is made for."""
        times = ImportanceTimes(VP, Sigma2())
        level = VP.at(times.quantile(U))
        contribution = times.weight(level) * level.sigma * level.alpha
        uniform = VP.at(UniformTimes().quantile(U))
        spread = uniform.sigma**3 * uniform.alpha
        assert contribution.var() / contribution.mean() ** 2 < 0.1
        assert spread.var() / spread.mean() ** 2 > 0.5

    def test_its_weight_is_bounded(self):
        times = ImportanceTimes(VP, Sigma2(), 0.0, 1.0)
        level = VP.at(U)
        ratio = times.weight(level) / Sigma2()(level)
        assert ratio[1:].max() == pytest.approx(1 / 0.3, rel=0.1)

    def test_follows_the_device_of_the_points(self):
        times = ImportanceTimes(VP, Sigma2())
        for device in ("meta", "cpu"):
            level = VP.at(times.quantile(U.to(device)))
            assert times.weight(level).device.type == device


def first(times: TimeSampler, calls: int) -> list[float]:
    return [times.sample(1, 1, CPU, None).item() for _ in range(calls)]


def middle(draws: int, batch: int, device: torch.device, generator: object) -> Tensor:
    return torch.full((draws, batch), 0.5, dtype=torch.float64)


class TestProgress:
    def test_descending_goes_through_the_quantiles(self):
        over = LogSNRTimes(VP, -4, 4)
        expected = over.quantile(torch.tensor([1, 0.75, 0.5, 0.25, 0, 0]).double())
        np.testing.assert_allclose(first(DescendingTimes(5, over), 6), expected, rtol=1e-12)
        np.testing.assert_allclose(first(DescendingTimes(1, (0.1, 0.9)), 2), [0.9, 0.1])

    def test_all_samples_of_a_call_share_the_descending_time(self):
        times = DescendingTimes(3, (0.1, 0.9))
        assert times.sample(2, 3, CPU, None).tolist() == [[0.9] * 3] * 2

    def test_annealed_moves_the_bounds(self):
        times = AnnealedTimes((0.0, 1.0), (0.2, 0.4), 3, middle)
        np.testing.assert_allclose(first(times, 4), [0.5, 0.4, 0.3, 0.3])
        assert (times.low, times.high) == (0.0, 1.0)
        t = AnnealedTimes((0.1, 0.9), (0.1, 0.3), 1)
        t.sample(1, 1, CPU, None)
        later = t.sample(1, 1000, CPU, seed())
        assert stats.kstest((later[0].numpy() - 0.1) / 0.2, "uniform").pvalue > 0.01

    @pytest.mark.parametrize(
        "make",
        [lambda: DescendingTimes(9), lambda: AnnealedTimes((0.02, 0.98), (0.02, 0.5), 9)],
        ids=["descending", "annealed"],
    )
    class TestState:
        def objective(self, make, seed_value: int = 0) -> ScoreRegularizedObjective:
            return ScoreRegularizedObjective.from_value(
                None, conditional_gaussian(), times=make(), generator=seed(seed_value)
            )

        def test_is_saved_with_the_objective(self, make):
            objective = self.objective(make)
            x = torch.ones(2, 2)
            for _ in range(3):
                objective(x, x)
            state = objective.state_dict()
            assert {name: tensor.item() for name, tensor in state.items()} == {
                "times.clock.step": 3
            }
            resumed = self.objective(make)
            resumed.load_state_dict(state)
            assert objective.generator is not None
            assert resumed.generator is not None
            resumed.generator.set_state(objective.generator.get_state())
            for _ in range(8):
                assert torch.equal(objective(x, x).gradient, resumed(x, x).gradient)

        def test_stands_still_in_eval_mode(self, make):
            objective, x = self.objective(make).eval(), torch.ones(2, 2)
            for _ in range(3):
                objective(x, x)
            assert objective.state_dict()["times.clock.step"] == 0
            objective.train()(x, x)
            assert objective.state_dict()["times.clock.step"] == 1

        def test_is_left_alone_where_t_is_given(self, make):
            objective, x = self.objective(make), torch.ones(2, 2)
            objective(x, x, t=0.5)
            assert objective.state_dict()["times.clock.step"] == 0


class Beyond(QuantileTimes):
    low, high = 0.5, 2.0

    def quantile(self, u):
        return 0.5 + 1.5 * u


BAD = {
    "points unknown": (lambda: UniformTimes(points="sobol"), ("'sobol'", "'stratified'")),  # pyright: ignore[reportArgumentType]
    "log-SNR reversed": (lambda: LogSNRTimes(VP, 4, -4), ("(4, -4)", "low < high")),
    "log-SNR infinite": (lambda: LogSNRTimes(VP, -4, float("inf")), ("inf", "finite")),
    "log-SNR not reached": (lambda: LogSNRTimes(VP, -40, 4), ("-40", "VPSchedule")),
    "std zero": (lambda: LogNormalTimes(VP, std=0.0), ("std=0.0", "std > 0")),
    "shift zero": (lambda: ShiftedTimes(0.0), ("shift=0.0", "> 0")),
    "shift reversed": (lambda: ShiftedTimes(3.0, 0.9, 0.1), ("(0.9, 0.1)", "low")),
    "mean NaN": (lambda: LogNormalTimes(VP, mean=float("nan")), ("nan", "expected a number")),
    "log-normal reversed": (lambda: LogNormalTimes(VP, low=0.9, high=0.1), ("(0.9, 0.1)", "low")),
    "log-normal without mass": (
        lambda: LogNormalTimes(VP, 50.0, 0.1),
        ("mean=50.0", "nothing lies between"),
    ),
    "adaptive of one bin": (lambda: AdaptiveTimes(Sigma2(), bins=1), ("bins=1", "at least 2")),
    "adaptive that keeps all": (
        lambda: AdaptiveTimes(Sigma2(), decay=1.0),
        ("decay=1.0", "[0, 1)"),
    ),
    "adaptive reversed": (lambda: AdaptiveTimes(Sigma2(), 0.9, 0.1), ("(0.9, 0.1)", "low < high")),
    "importance reversed": (
        lambda: ImportanceTimes(VP, Sigma2(), 0.9, 0.1),
        ("(0.9, 0.1)", "low < high"),
    ),
    "importance of nothing": (
        lambda: ImportanceTimes(VP, CustomWeighting(lambda level: 0 * level.t)),
        ("from 0 to 0", "not all zero"),
    ),
    "importance of a negative weight": (
        lambda: ImportanceTimes(VP, lambda level: -level.sigma),
        ("-0.", ">= 0"),
    ),
    "no steps": (lambda: DescendingTimes(0), ("steps=0", "at least 1")),
    "steps a float": (lambda: AnnealedTimes((0.1, 0.9), (0.1, 0.5), 5.0), ("5.0", "integer")),  # pyright: ignore[reportArgumentType]
    "a fixed time is no distribution": (lambda: DescendingTimes(5, over=0.5), ("0.5", "range")),  # pyright: ignore[reportArgumentType]
    "a descent of a descent": (
        lambda: DescendingTimes(5, over=DescendingTimes(5)),  # pyright: ignore[reportArgumentType]
        ("DescendingTimes", "distribution"),
    ),
    "range of an annealing reversed": (
        lambda: AnnealedTimes((0.1, 0.9), (0.5, 0.1), 5),
        ("(0.5, 0.1)", "low < high"),
    ),
    "times beyond 1": (
        lambda: ScoreRegularizedObjective.from_value(
            None, conditional_gaussian(), times=Beyond(), draws=50
        )(torch.ones(2, 2), torch.ones(2, 2)),
        ("times from", "[0, 1]"),
    ),
}


@pytest.mark.parametrize(("act", "says"), BAD.values(), ids=list(BAD))
def test_bad_input(act, says):
    with pytest.raises(ArgumentError) as caught:
        act()
    for words in ("got", "expected", *says):
        assert words in str(caught.value)


def test_as_times():
    assert isinstance(as_times(0.3), FixedTime)
    assert isinstance(as_times((0.1, 0.3)), UniformTimes)
    sampler = DescendingTimes(3)
    assert as_times(sampler) is sampler
