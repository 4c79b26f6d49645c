"""The contract of a noise schedule."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from scoreregs.schedules import NoiseSchedule

__all__ = ["ScheduleContract"]


class ScheduleContract(ABC):
    """What every `NoiseSchedule` keeps, abstract in `make_schedule`.

    Attributes:
        interior: the range of t in which derivatives are compared; leave out singular ends.
    """

    interior: tuple[float, float] = (0.05, 0.95)

    @abstractmethod
    def make_schedule(self) -> NoiseSchedule:
        """Returns the schedule under test."""

    def _times(self, count: int = 41) -> Tensor:
        return torch.linspace(*self.interior, count, dtype=torch.float64)

    def test_keeps_shape_dtype_and_input(self) -> None:
        """Scales have t's shape and dtype, for any shape, and t is left alone."""
        schedule = self.make_schedule()
        for dtype in (torch.float32, torch.float64):
            for shape in ((), (3,), (2, 3)):
                t = torch.full(shape, 0.4, dtype=dtype)
                before = t.clone()
                for scale in schedule(t):
                    assert scale.shape == shape
                    assert scale.dtype == dtype
                assert torch.equal(t, before)

    def test_is_finite_and_not_negative_at_both_ends(self) -> None:
        """Alpha and sigma are finite and >= 0 at t = 0 and t = 1, never both zero."""
        alpha, sigma = self.make_schedule()(torch.tensor([0.0, 1.0], dtype=torch.float64))
        for scale in (alpha, sigma):
            assert bool((scale.isfinite() & (scale >= 0)).all())
        assert bool((alpha + sigma > 0).all())

    def test_log_snr_falls_strictly(self) -> None:
        """Time runs from data to noise."""
        log_snr = self.make_schedule().log_snr(torch.linspace(0, 1, 201, dtype=torch.float64))
        assert bool((log_snr.diff() < 0).all())

    def test_log_snr_is_that_of_the_scales(self) -> None:
        """An overridden `log_snr` is 2 log(alpha / sigma)."""
        schedule, t = self.make_schedule(), self._times()
        alpha, sigma = schedule(t)
        expected = 2 * torch.log(alpha / sigma)
        torch.testing.assert_close(schedule.log_snr(t), expected, rtol=1e-9, atol=1e-9)

    def test_derivatives_match_finite_differences(self) -> None:
        """Derivatives of alpha, sigma and the log-SNR are those of central differences."""
        schedule, t, step = self.make_schedule(), self._times(), 1e-5
        after, before = schedule(t + step), schedule(t - step)
        for derivative, high, low in zip(schedule.derivative(t), after, before, strict=True):
            expected = (high - low) / (2 * step)
            torch.testing.assert_close(derivative, expected, rtol=1e-5, atol=1e-7)
        difference = schedule.log_snr(t + step) - schedule.log_snr(t - step)
        expected = difference / (2 * step)
        torch.testing.assert_close(schedule.log_snr_derivative(t), expected, rtol=1e-5, atol=1e-6)

    def test_inverse_of_log_snr(self) -> None:
        """`t_from_log_snr` undoes `log_snr`."""
        schedule, t = self.make_schedule(), self._times()
        restored = schedule.t_from_log_snr(schedule.log_snr(t))
        torch.testing.assert_close(restored, t, rtol=1e-9, atol=1e-9)

    def test_level_is_float64_for_half_precision_times(self) -> None:
        """`at` computes in float64, so that small noise levels survive half-precision callers."""
        level = self.make_schedule().at(torch.tensor([0.5], dtype=torch.bfloat16))
        for tensor in (level.t, level.alpha, level.sigma, level.log_snr):
            assert tensor.dtype == torch.float64
