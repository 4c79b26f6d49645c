"""Every schedule against its formula in fifty digits, and tables against what they sample."""

from dataclasses import dataclass
from typing import Any, cast

import mpmath
import pytest
import torch

from scoreregs import (
    CosineSchedule,
    EDMSchedule,
    NoiseSchedule,
    RectifiedFlowSchedule,
    SubVPSchedule,
    TabulatedSchedule,
    VESchedule,
    VPSchedule,
)
from scoreregs.errors import ArgumentError
from scoreregs.schedules.tabulated import Interpolation
from scoreregs.testing import ScheduleContract

mpmath.mp.dps = 50
F64 = torch.float64
INTERPOLATIONS: list[Interpolation] = ["nearest", "log_snr"]


def vp(t):
    return mpmath.exp(-(t**2) * (mpmath.mpf(20) - mpmath.mpf(0.1)) / 4 - mpmath.mpf(0.1) * t / 2)


def cosine(t):
    def squared(s):
        return mpmath.cos((s + mpmath.mpf(0.008)) / (1 + mpmath.mpf(0.008)) * mpmath.pi / 2) ** 2

    return mpmath.sqrt(squared(t) / squared(mpmath.mpf(0)))


def edm(t):
    low, high = mpmath.mpf(0.002) ** (mpmath.mpf(1) / 7), mpmath.mpf(80) ** (mpmath.mpf(1) / 7)
    return (low + t * (high - low)) ** 7


@dataclass(frozen=True)
class Row:
    """A schedule, its alpha and sigma as functions of an mpmath time, and its exact ends."""

    schedule: NoiseSchedule
    alpha: Any
    sigma: Any
    ends: tuple[tuple[float, float], tuple[float, float]]


END = float(vp(mpmath.mpf(1)))
ROWS = {
    "vp": Row(
        VPSchedule(),
        vp,
        lambda t: mpmath.sqrt(1 - vp(t) ** 2),
        ((1.0, 0.0), (END, (1 - END**2) ** 0.5)),
    ),
    "sub_vp": Row(SubVPSchedule(), vp, lambda t: 1 - vp(t) ** 2, ((1.0, 0.0), (END, 1 - END**2))),
    "cosine": Row(
        CosineSchedule(),
        cosine,
        lambda t: mpmath.sqrt(1 - cosine(t) ** 2),
        ((1.0, 0.0), (0.0, 1.0)),
    ),
    "ve": Row(
        VESchedule(),
        lambda t: mpmath.mpf(1),
        lambda t: mpmath.mpf(0.01) * (mpmath.mpf(50) / mpmath.mpf(0.01)) ** t,
        ((1.0, 0.01), (1.0, 50.0)),
    ),
    "edm": Row(EDMSchedule(), lambda t: mpmath.mpf(1), edm, ((1.0, 0.002), (1.0, 80.0))),
    "flow": Row(RectifiedFlowSchedule(), lambda t: 1 - t, lambda t: t, ((1.0, 0.0), (0.0, 1.0))),
    "flow_shift": Row(
        RectifiedFlowSchedule(shift=3.0),
        lambda t: (1 - t) / (1 + 2 * t),
        lambda t: 3 * t / (1 + 2 * t),
        ((1.0, 0.0), (0.0, 1.0)),
    ),
}


def ddpm_table(steps=1000):
    return torch.cumprod(1 - torch.linspace(1e-4, 2e-2, steps, dtype=F64), 0)


class TestContract(ScheduleContract):
    @pytest.fixture(
        autouse=True,
        params=[
            *(row.schedule for row in ROWS.values()),
            VPSchedule(beta_min=2.0, beta_max=2.0),
            CosineSchedule(offset=0.0),
            RectifiedFlowSchedule(shift=0.3),
            EDMSchedule(sigma_min=0.01, sigma_max=10.0, rho=1.0),
            # 997 steps: none of the times compared is a step, where the derivative jumps.
            TabulatedSchedule.from_alphas_cumprod(ddpm_table(997), interpolation="log_snr"),
            TabulatedSchedule(
                *SubVPSchedule()(torch.arange(1, 998, dtype=F64) / 997), interpolation="log_snr"
            ),
        ],
        ids=lambda schedule: type(schedule).__name__,
    )
    def _schedule(self, request):
        self.schedule = request.param

    def make_schedule(self):
        return self.schedule


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
class TestFormula:
    @pytest.mark.parametrize("time", [1e-8, 1e-3, 0.02, 0.3, 0.5, 0.77, 0.98, 0.999])
    def test_everything_keeps_its_relative_precision(self, row, time):
        exact, t = mpmath.mpf(time), torch.tensor([time], dtype=F64)
        alpha, sigma = row.schedule(t)
        d_alpha, d_sigma = row.schedule.derivative(t)

        def log_snr(s):
            return 2 * mpmath.log(row.alpha(s) / row.sigma(s))

        got = [alpha, sigma, d_alpha, d_sigma, row.schedule.log_snr_derivative(t)]
        expected = [
            row.alpha(exact),
            row.sigma(exact),
            mpmath.diff(row.alpha, exact),
            mpmath.diff(row.sigma, exact),
            mpmath.diff(log_snr, exact),
        ]
        for value, truth in zip(got, expected, strict=True):
            assert value.item() == pytest.approx(float(truth), rel=1e-12, abs=1e-300)
        expected = float(log_snr(exact))
        assert row.schedule.log_snr(t).item() == pytest.approx(expected, rel=1e-12, abs=1e-13)
        restored = row.schedule.t_from_log_snr(torch.tensor([expected], dtype=F64))
        assert restored.item() == pytest.approx(time, rel=1e-7, abs=1e-15)
        assert restored.item() == pytest.approx(time, abs=1e-14)

    def test_ends_are_exact(self, row):
        alpha, sigma = row.schedule(torch.tensor([0.0, 1.0], dtype=F64))
        for end in (0, 1):
            assert (alpha[end].item(), sigma[end].item()) == pytest.approx(row.ends[end], rel=1e-14)
            for got, truth in zip((alpha[end], sigma[end]), row.ends[end], strict=True):
                assert (got.item() == 0) == (truth == 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SubVPSchedule(beta_min=0.0),
        lambda: CosineSchedule(offset=-0.1),
        lambda: VESchedule(sigma_min=1.0, sigma_max=1.0),
        lambda: VESchedule(sigma_min=0.0),
        lambda: EDMSchedule(sigma_min=0.0),
        lambda: EDMSchedule(rho=0.0),
        lambda: RectifiedFlowSchedule(shift=0.0),
        lambda: RectifiedFlowSchedule(shift=float("nan")),
    ],
)
def test_parameters_outside_their_range_are_refused(make):
    with pytest.raises(ArgumentError, match=r"got .* expected"):
        make()


class TestShift:
    def test_lowers_the_log_snr(self):
        t = torch.linspace(0.1, 0.9, 9, dtype=F64)
        plain, shifted = RectifiedFlowSchedule(), RectifiedFlowSchedule(shift=3.0)
        expected = plain.log_snr(t) - 2 * torch.log(torch.tensor(3.0, dtype=F64))
        torch.testing.assert_close(shifted.log_snr(t), expected)

    def test_leaves_the_velocity_of_the_network_alone(self):
        for velocity in RectifiedFlowSchedule(shift=3.0).velocity(torch.tensor([0.2], dtype=F64)):
            assert abs(velocity.item()) == 1


class TestTable:
    def test_snaps_level_and_time_to_the_nearest_step(self):
        table = ddpm_table()
        schedule = TabulatedSchedule.from_alphas_cumprod(table)
        t = torch.tensor([0.0, 0.0005, 0.0014, 0.50049, 0.50051, 0.9996, 1.0], dtype=F64)
        step = torch.tensor([0, 0, 0, 499, 500, 999, 999])
        level = schedule.at(t)
        assert torch.equal(schedule.step(t), step)
        assert torch.equal(schedule.step(level.t), step)
        assert torch.equal(level.t, (step + 1).double() / 1000)
        assert torch.equal(level.alpha, table.sqrt()[step])
        assert torch.equal(level.sigma, (1 - table).sqrt()[step])
        torch.testing.assert_close(level.log_snr, torch.log(table / (1 - table))[step])
        alpha, sigma = schedule(t)
        assert torch.equal(alpha, level.alpha)
        assert torch.equal(sigma, level.sigma)

    @pytest.mark.parametrize("steps", [2, 7, 100, 1000, 4000])
    @pytest.mark.parametrize("interpolation", INTERPOLATIONS)
    def test_its_own_times_are_its_own_steps(self, steps, interpolation):
        table = ddpm_table(steps)
        schedule = TabulatedSchedule.from_alphas_cumprod(table, interpolation)
        t = torch.arange(1, steps + 1, dtype=F64) / steps
        assert torch.equal(schedule.step(t), torch.arange(steps))
        assert torch.equal(schedule.step(t.float()), torch.arange(steps))
        alpha, sigma = schedule(t)
        torch.testing.assert_close(alpha, table.sqrt(), rtol=1e-9, atol=0)
        torch.testing.assert_close(sigma, (1 - table).sqrt(), rtol=1e-9, atol=0)
        restored = schedule.t_from_log_snr(schedule.log_snr(t))
        torch.testing.assert_close(restored, t, rtol=1e-9, atol=0)

    @pytest.mark.parametrize(
        "continuous",
        [VPSchedule(), RectifiedFlowSchedule(), EDMSchedule()],
        ids=["vp", "flow", "edm"],
    )
    def test_interpolates_the_log_snr_linearly(self, continuous):
        steps = 100
        grid = torch.arange(1, steps + 1, dtype=F64) / steps
        schedule = TabulatedSchedule(*continuous(grid), interpolation="log_snr")
        t = grid[9:-2] + 0.3 / steps
        log_snr = continuous.log_snr(grid)
        expected = 0.7 * log_snr[9:-2] + 0.3 * log_snr[10:-1]
        level = schedule.at(t)
        torch.testing.assert_close(level.t, t)
        torch.testing.assert_close(level.log_snr, expected)
        torch.testing.assert_close(2 * torch.log(level.alpha / level.sigma), expected)
        for got, truth in zip((level.alpha, level.sigma), continuous(t), strict=True):
            torch.testing.assert_close(got, truth, rtol=6e-3, atol=6e-3)

    def test_before_the_first_step_is_the_first_step(self):
        table = ddpm_table()
        for interpolation in INTERPOLATIONS:
            schedule = TabulatedSchedule.from_alphas_cumprod(table, interpolation)
            level = schedule.at(torch.tensor([0.0, 0.0004], dtype=F64))
            torch.testing.assert_close(level.t, torch.full((2,), 0.001, dtype=F64))
            torch.testing.assert_close(level.alpha, table[0].sqrt().expand(2))

    def test_nearest_inverse_is_a_step(self):
        schedule = TabulatedSchedule.from_alphas_cumprod(ddpm_table())
        log_snr = torch.linspace(5, -9, 50, dtype=F64)
        t = schedule.t_from_log_snr(log_snr)
        position = t * 1000
        torch.testing.assert_close(position, position.round(), rtol=0, atol=1e-9)
        distance = (schedule.log_snr(t) - log_snr).abs()
        everywhere = schedule.log_snr(torch.arange(1, 1001, dtype=F64) / 1000)
        best = (everywhere[:, None] - log_snr).abs().min(0).values
        assert bool((distance <= best + 0.02).all())

    @pytest.mark.parametrize("interpolation", INTERPOLATIONS)
    def test_a_zero_terminal_ratio_is_exact_and_finite(self, interpolation):
        table = ddpm_table()
        table[-1] = 0
        schedule = TabulatedSchedule.from_alphas_cumprod(table, interpolation)
        t = torch.tensor([0.998, 0.9994, 0.9997, 1.0], dtype=F64)
        level = schedule.at(t)
        assert level.alpha[-1].item() == 0
        assert level.sigma[-1].item() == 1
        assert bool(level.alpha.isfinite().all() & level.sigma.isfinite().all())
        assert bool((schedule.log_snr(torch.linspace(0, 1, 201, dtype=F64)).diff() < 0).all())
        last = schedule.t_from_log_snr(level.log_snr[-1:])
        assert last.item() == 1

    def test_alpha_sigma_and_cumulative_tables_are_one(self):
        table = ddpm_table()
        t = torch.linspace(0, 1, 77, dtype=F64)
        first = TabulatedSchedule.from_alphas_cumprod(table)(t)
        second = TabulatedSchedule(table.sqrt(), (1 - table).sqrt())(t)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))

    def test_is_a_copy_of_its_table(self):
        table = ddpm_table()
        schedule = TabulatedSchedule(table.sqrt(), sigma := (1 - table).sqrt())
        before = schedule.at(torch.tensor([0.5])).sigma
        sigma.zero_()
        assert torch.equal(schedule.at(torch.tensor([0.5])).sigma, before)

    def test_velocity_of_a_straight_table_is_that_of_the_flow(self):
        sigma = torch.linspace(0.1, 1, 10, dtype=F64)
        t = torch.tensor([0.35], dtype=F64)
        d_alpha, d_sigma = TabulatedSchedule(1 - sigma, sigma).velocity(t)
        assert (d_alpha.item(), d_sigma.item()) == (-1, 1)

    def test_nearest_has_no_derivative(self):
        schedule, t = TabulatedSchedule.from_alphas_cumprod(ddpm_table()), torch.tensor([0.5])
        for derivative in (schedule.derivative, schedule.velocity, schedule.log_snr_derivative):
            with pytest.raises(ArgumentError, match=r"log_snr"):
                derivative(t)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: TabulatedSchedule.from_alphas_cumprod(ddpm_table().half()), "half precision"),
            (lambda: TabulatedSchedule.from_alphas_cumprod(ddpm_table().bfloat16()), "half"),
            (
                lambda: TabulatedSchedule.from_alphas_cumprod(ddpm_table().bfloat16().float()),
                "falls strictly",
            ),
            (lambda: TabulatedSchedule.from_alphas_cumprod(ddpm_table().flip(0)), "falls strictly"),
            (lambda: TabulatedSchedule([1.0, 0.5, 0.5], [0.1, 0.5, 0.5]), "falls strictly"),
            (lambda: TabulatedSchedule([1.0, 0.0, 0.0], [0.1, 0.5, 1.0]), "falls strictly"),
            (lambda: TabulatedSchedule([1.0, 0.5], [0.1, 0.5, 0.6]), "as many"),
            (lambda: TabulatedSchedule(torch.ones(1, 2), torch.ones(1, 2)), r"\(N,\)"),
            (lambda: TabulatedSchedule([1.0], [0.1]), "N >= 2"),
            (lambda: TabulatedSchedule([1.0, -0.5], [0.1, 0.5]), ">= 0"),
            (lambda: TabulatedSchedule([1.0, float("nan")], [0.1, 0.5]), "finite"),
            (lambda: TabulatedSchedule.from_alphas_cumprod([1.2, 0.5]), r"in \[0, 1\]"),
            (lambda: TabulatedSchedule([1.0, 0.5], [0.1, 0.5], cast(Any, "linear")), "nearest"),
        ],
    )
    def test_what_is_no_table_is_refused(self, make, message):
        with pytest.raises(ArgumentError, match=message):
            make()

    def test_a_ratio_that_it_never_has_is_refused(self):
        schedule = TabulatedSchedule.from_alphas_cumprod(ddpm_table())
        with pytest.raises(ArgumentError, match="expected one between"):
            schedule.t_from_log_snr(torch.tensor([20.0]))
