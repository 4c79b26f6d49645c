"""Tables against what they sample."""

from typing import Any, cast

import pytest
import torch

from scoreregs import EDMSchedule, RectifiedFlowSchedule, TabulatedSchedule, VPSchedule
from scoreregs.errors import ArgumentError
from scoreregs.schedules.tabulated import Interpolation

F64 = torch.float64
INTERPOLATIONS: list[Interpolation] = ["nearest", "log_snr"]


def ddpm_table(steps=1000):
    return torch.cumprod(1 - torch.linspace(1e-4, 2e-2, steps, dtype=F64), 0)


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
