"""Every schedule against its formula in fifty digits."""

from dataclasses import dataclass
from typing import Any

import mpmath
import pytest
import torch

from scoreregs import (
    CosineSchedule,
    EDMSchedule,
    NoiseSchedule,
    RectifiedFlowSchedule,
    SubVPSchedule,
    VESchedule,
    VPSchedule,
)
from scoreregs.errors import ArgumentError

mpmath.mp.dps = 50
F64 = torch.float64


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
