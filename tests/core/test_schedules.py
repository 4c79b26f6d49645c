"""VP-linear and the methods that every schedule inherits, and schedules that break the contract."""

import numpy as np
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
from scoreregs.testing import ScheduleContract
from tests.core.ground_truth import vp_scales


class Inherited(NoiseSchedule):
    """VP-linear by its definition alone: derivatives and inverse are the base class's."""

    def __call__(self, t):
        log_alpha = -(t**2) * 19.9 / 4 - t * 0.1 / 2
        return torch.exp(log_alpha), torch.sqrt(-torch.expm1(2 * log_alpha))


class Cosine(NoiseSchedule):
    """alpha(1) = 0: a log-SNR that is infinite at both ends."""

    def __call__(self, t):
        return torch.cos(t * torch.pi / 2), torch.sin(t * torch.pi / 2)


def table_of(schedule):
    """997 steps: none of the times compared is a step, where the derivative jumps."""
    t = torch.arange(1, 998, dtype=torch.float64) / 997
    return TabulatedSchedule(*schedule(t), interpolation="log_snr")


SCHEDULES = {
    "vp": VPSchedule,
    "vp, slow": lambda: VPSchedule(0.2, 5),
    "vp, constant": lambda: VPSchedule(3, 3),
    "inherited": Inherited,
    "inherited cosine": Cosine,
    "sub-VP": SubVPSchedule,
    "cosine": CosineSchedule,
    "cosine, no offset": lambda: CosineSchedule(offset=0.0),
    "VE": VESchedule,
    "EDM": EDMSchedule,
    "EDM, linear": lambda: EDMSchedule(sigma_min=0.01, sigma_max=10.0, rho=1.0),
    "flow": RectifiedFlowSchedule,
    "flow, shift 3": lambda: RectifiedFlowSchedule(shift=3.0),
    "flow, shift 0.3": lambda: RectifiedFlowSchedule(shift=0.3),
    "table of VP": lambda: table_of(VPSchedule()),
    "table of sub-VP": lambda: table_of(SubVPSchedule()),
}


class TestContract(ScheduleContract):
    @pytest.fixture(autouse=True, params=SCHEDULES.values(), ids=list(SCHEDULES))
    def row(self, request):
        self._make = request.param

    def make_schedule(self):
        return self._make()


def test_vp_matches_the_formula():
    for t in (1e-3, 0.02, 0.3, 0.98, 1.0):
        scales = VPSchedule()(torch.tensor(t, dtype=torch.float64))
        np.testing.assert_allclose([float(s) for s in scales], vp_scales(t), rtol=1e-11)


def test_vp_is_exact_at_both_ends():
    level = VPSchedule().at(torch.tensor([0.0, 1.0]))
    assert level.alpha[0] == 1
    assert level.sigma[0] == 0
    assert level.log_snr[0] == float("inf")
    assert level.alpha[1].item() == pytest.approx(np.exp(-19.9 / 4 - 0.05), rel=1e-14)
    assert (level.alpha.square() + level.sigma.square())[1].item() == pytest.approx(1, rel=1e-15)


def test_vp_keeps_its_relative_precision_near_the_data():
    """sigma^2 = beta_0 t + O(t^2); 1 - alpha^2 would have three digits left here."""
    t = torch.tensor(1e-12, dtype=torch.float64)
    assert VPSchedule()(t)[1].item() == pytest.approx(np.sqrt(0.1 * 1e-12), rel=1e-9)


@pytest.mark.parametrize("t", [1e-6, 1e-3, 0.5, 1.0])
def test_vp_inverse_over_its_whole_range(t):
    schedule, time = VPSchedule(), torch.tensor([t], dtype=torch.float64)
    assert schedule.t_from_log_snr(schedule.log_snr(time)).item() == pytest.approx(t, rel=1e-8)
    assert schedule.t_from_log_snr(torch.tensor([float("inf")])).item() == 0


def test_inherited_methods_agree_with_the_closed_forms():
    t = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    derived, closed = Inherited(), VPSchedule()
    for name in ("derivative", "log_snr_derivative", "log_snr"):
        torch.testing.assert_close(
            getattr(derived, name)(t), getattr(closed, name)(t), rtol=1e-9, atol=1e-12
        )
    restored = derived.t_from_log_snr(closed.log_snr(t))
    torch.testing.assert_close(restored, t, rtol=1e-12, atol=1e-12)


def test_inherited_derivatives_work_without_gradient():
    """The objective asks for them under no_grad."""
    t = torch.tensor([0.3], dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(Inherited().derivative(t), VPSchedule().derivative(t))


def test_inherited_derivatives_take_one_time_for_a_batch():
    t = torch.tensor(0.3, dtype=torch.float64).expand(4)
    assert Inherited().derivative(t)[0].shape == (4,)
    assert Inherited().log_snr_derivative(t).shape == (4,)


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=list(SCHEDULES))
def test_what_is_no_ratio_is_called_by_its_name(make):
    with pytest.raises(ArgumentError, match="got log_snr 'a'"):
        make().t_from_log_snr("a")


def test_ratio_out_of_reach_is_refused():
    with pytest.raises(ArgumentError, match="clamp it or widen"):
        Inherited().t_from_log_snr(torch.tensor([-50.0]))


@pytest.mark.parametrize("rates", [(0, 20), (-1, 1), (20, 0.1), (float("nan"), 1)])
def test_rates_that_are_no_schedule(rates):
    with pytest.raises(ArgumentError, match=r"0 < beta_min <= beta_max|beta_min=nan"):
        VPSchedule(*rates)


class WrongDerivative(VPSchedule):
    def derivative(self, t):
        alpha, sigma = super().derivative(t)
        return alpha, -sigma


class WrongLogSNRDerivative(VPSchedule):
    def log_snr_derivative(self, t):
        return super().log_snr_derivative(t) / 2


class WrongLogSNR(VPSchedule):
    def log_snr(self, t):
        return super().log_snr(t) / 2

    def log_snr_derivative(self, t):
        return super().log_snr_derivative(t) / 2


class WrongInverse(VPSchedule):
    def t_from_log_snr(self, log_snr):
        return super().t_from_log_snr(log_snr + 0.01)


class Backwards(Cosine):
    def __call__(self, t):
        return super().__call__(1 - t)


class Flat(Cosine):
    def __call__(self, t):
        return super().__call__(t.clamp(max=0.9))


class NotFinite(Cosine):
    def __call__(self, t):
        alpha, _ = super().__call__(t)
        return alpha, (1 - alpha).log() + 10


class WritesToItsTime(Cosine):
    def __call__(self, t):
        scales = super().__call__(t)
        t += 0.0001
        return scales


class KeepsDouble(Cosine):
    def __call__(self, t):
        return super().__call__(t.double())


class InHalfPrecision(VPSchedule):
    def at(self, t):
        level = super().at(t)
        t = torch.as_tensor(t)
        return type(level)(t, level.alpha.to(t), level.sigma.to(t), level.log_snr.to(t))


BREACHES = {
    WrongDerivative: "test_derivatives_match_finite_differences",
    WrongLogSNRDerivative: "test_derivatives_match_finite_differences",
    WrongLogSNR: "test_log_snr_is_that_of_the_scales",
    WrongInverse: "test_inverse_of_log_snr",
    Backwards: "test_log_snr_falls_strictly",
    Flat: "test_log_snr_falls_strictly",
    NotFinite: "test_is_finite_and_not_negative_at_both_ends",
    WritesToItsTime: "test_keeps_shape_dtype_and_input",
    KeepsDouble: "test_keeps_shape_dtype_and_input",
    InHalfPrecision: "test_level_is_float64_for_half_precision_times",
}


@pytest.mark.parametrize(
    ("kind", "clause"), BREACHES.items(), ids=[kind.__name__ for kind in BREACHES]
)
def test_the_contract_catches_a_breach(kind, clause):
    class Contract(ScheduleContract):
        def make_schedule(self):
            return kind()

    with pytest.raises(AssertionError):
        getattr(Contract(), clause)()


def test_every_clause_is_broken_by_some_schedule():
    clauses = {name for name in dir(ScheduleContract) if name.startswith("test_")}
    assert set(BREACHES.values()) == clauses
