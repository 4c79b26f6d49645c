"""The variance benchmark: its traces and floors against closed forms, its settings' expectation."""

import csv
import io
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.quality.variance import __main__ as command
from benchmarks.quality.variance.cases import Case, closed_form, gaussian
from benchmarks.quality.variance.estimators import (
    BASELINES,
    PAPER,
    RANGE,
    RECOMMENDED,
    Draws,
    baselines,
    draw_plans,
)
from benchmarks.quality.variance.measure import (
    Problem,
    Trace,
    parameter_problem,
    per_sample_floors,
    per_sample_problem,
    stratified_floor,
    traces,
    warm_up,
)
from benchmarks.quality.variance.table import cells_of, summary
from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.times import ImportanceTimes, UniformTimes
from scoreregs.weightings import Sigma2, TimeWeighting, as_weighting
from tests.core.ground_truth import WEIGHTS, time_nodes, vp_scales

VP = VPSchedule()
PLANS = {plan.name: plan for plan in draw_plans(VP, antithetic=True)}


def seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def standard_normal(count: int) -> Case:
    """N(0, 1) at x = 0, and a policy whose gradient is its bias's, the mean residual."""
    prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VP)
    policy = nn.Linear(1, 1)
    nn.init.zeros_(policy.weight)
    nn.init.zeros_(policy.bias)
    zeros = torch.zeros(count, 1)
    return Case("N(0, 1)", "data", prior, zeros, None, policy, zeros)


def mean_over_time(function) -> float:
    """The mean over uniform times of a function of alpha and sigma."""
    nodes, shares = time_nodes(200)
    return sum(p * function(*vp_scales(float(t))) for t, p in zip(nodes, shares, strict=True))


def assert_close(trace: Trace, expected: float) -> None:
    assert abs(trace.value - expected) < 5 * trace.error
    assert trace.error < 0.2 * expected


class TestClosedForm:
    @pytest.mark.parametrize(
        ("weight", "factor"), [("sigma2", 0.027), ("uniform", 0.28), ("alpha_over_sigma", 39)]
    )
    def test_per_sample_trace_of_a_standard_normal(self, weight, factor):
        """The residual is -w alpha^2 eps with the noise baseline and w sigma^2 eps without."""
        problem = per_sample_problem(standard_normal(64), 64)
        draws = Draws("uniform", UniformTimes(*RANGE), as_weighting(weight))
        found = traces(problem, draws, baselines(), 400, 20, seed())
        w = WEIGHTS[weight]
        noise = mean_over_time(lambda a, s: w(a, s) ** 2 * a**4)
        none = mean_over_time(lambda a, s: w(a, s) ** 2 * s**4)
        assert_close(found["noise"], noise / 4)
        assert_close(found["none"], none / 4)
        assert found["noise"].value / found["none"].value == pytest.approx(factor, rel=0.2)

    def test_parameter_trace_of_a_standard_normal(self):
        problem = parameter_problem(standard_normal(32))
        found = traces(problem, PLANS[PAPER[0]], baselines(), 800, 20, seed())
        expected = mean_over_time(lambda a, s: s**4 * a**4) / 32
        assert_close(found["noise"], expected)

    def test_nothing_is_left_of_a_standard_normal_under_its_own_coefficient(self):
        """There c*(t) = sigma^2; what is left is the width of the bins."""
        problem = per_sample_problem(standard_normal(64), 64)
        plan = PLANS["uniform, independent"]
        learned = warm_up(problem, plan, 60, seed())
        found = traces(problem, plan, learned, 100, 10, seed(1))
        assert found["optimal_noise"].value < 0.01 * found["noise"].value

    def test_floors_of_a_correlated_gaussian(self):
        """The residual is linear in the noise; a scalar leaves the spread of its eigenvalues."""
        d = 4
        prior = gaussian(d, seed())
        x = prior.draw(32, generator=seed()).float()
        problem = Problem(prior, x, None, 4, lambda r: r.mean(1))
        found = per_sample_floors(problem, 64, 256, seed())
        variances = np.logspace(-1, 0, d)

        def left(alpha, sigma):
            slope = sigma**2 / (alpha**2 * variances + sigma**2)
            return sigma**4 * d * np.var(slope)

        expected = mean_over_time(left) / 4
        assert found["scalar"] == pytest.approx(expected, rel=0.03)
        assert found["linear"] < 1e-6 * expected
        plan = PLANS[PAPER[0]]
        learned = warm_up(problem, plan, 100, seed())["optimal_noise"]
        assert_close(stratified_floor(problem, plan, learned, 800, 20, seed()), expected)


class TestExpectation:
    @pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
    def test_of_every_weight_and_density_is_the_papers(self, plan):
        """Over a fine grid of quantiles, for functions of the time."""
        assert isinstance(plan.weighting, TimeWeighting)
        u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
        t = plan.times.quantile(u)
        weight = plan.weighting(VP.at(t))
        for power in (0, 1, 2):
            expected = mean_over_time(lambda a, s, power=power: s**2 * (a * s) ** power)
            alpha, sigma = VP(t)
            mean = (weight * (alpha * sigma) ** power).mean()
            assert float(mean) == pytest.approx(expected, rel=1e-4)

    def test_of_the_recommended_setting_is_the_closed_form(self):
        """For N(m, v I) it is E w sigma alpha / (alpha^2 v + sigma^2) (x - m)."""
        mean, v = torch.tensor([0.3, -0.5]), 0.2
        prior = GaussianMixturePrior([1.0], mean[None], v * torch.eye(2)[None], VP)
        times = ImportanceTimes(VP, Sigma2(), points="low_discrepancy")
        objective = ScoreRegularizedObjective.from_value(
            None,
            prior,
            times=times,
            weighting=times.weight,
            baseline=RECOMMENDED[1],
            draws=4,
            generator=seed(),
        )
        x = torch.tensor([[1.0, 0.4]]).expand(64, 2)
        gradients = torch.stack([objective(x).gradient.mean(0) for _ in range(400)])[50:].double()
        expected = mean_over_time(lambda a, s: s**3 * a / (a**2 * v + s**2)) * (x[0] - mean)
        error = gradients.std(0) / len(gradients) ** 0.5
        assert (error < 2e-4).all()
        assert ((gradients.mean(0) - expected).abs() < 4 * error + 1e-6).all()


def settings(antithetic: bool) -> set[tuple[str, str]]:
    plans = draw_plans(VP, antithetic=antithetic)
    return {(plan.name, baseline) for plan in plans for baseline in BASELINES}


def test_cells_are_ratios_to_the_papers_estimator():
    other = "uniform, stratified", "noise"
    cells = cells_of("per sample", "a", "data", {PAPER: Trace(2.0, 0.2), other: Trace(1.0, 0.1)})
    assert [c.ratio for c in cells] == [1.0, 0.5]
    assert cells[0].ratio_error == 0
    assert cells[1].ratio_error == pytest.approx(0.5 * math.hypot(0.1, 0.1))
    row = summary(cells)[other]
    assert row["largest"] == 0.5
    assert row["never_worse"]


def test_command_writes_table_figures_and_picture(tmp_path, monkeypatch, capsys):
    found = list(closed_form((2,), 5, 0))
    monkeypatch.setattr(command, "chosen_cases", lambda arguments, budget: iter(found[:2]))
    file = "somewhere/behavior.pth"
    arguments = ["--quick", "--output", str(tmp_path), "--paper-behavior", file, "--data", "d.hdf5"]
    monkeypatch.setattr(command.sys, "argv", ["variance", *arguments])
    command.main()
    content = json.loads((tmp_path / "variance.json").read_text())
    assert "somewhere" not in content["command"]
    assert {"seed", "versions", "threads", "budget", "floors", "warm_up"} <= content.keys()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "variance.csv").read_text())))
    for quantity, expected in (("per sample", settings(True)), ("parameters", settings(False))):
        for place in ("data", "away"):
            chosen = [r for r in rows if (r["quantity"], r["place"]) == (quantity, place)]
            assert {(r["draws"], r["baseline"]) for r in chosen} == expected
            assert len(chosen) == len(expected)
            assert all(float(r["trace"]) > 0 for r in chosen)
    assert (tmp_path / "variance.png").read_bytes().startswith(b"\x89PNG")
    assert "| per sample | Gaussian 2, data |" in capsys.readouterr().out
