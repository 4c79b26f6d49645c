"""Schedules given as tables, of models that were trained on discrete steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import Self, override

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules.base import NoiseLevel, NoiseSchedule, as_time, check_time, of_tensor

__all__ = ["Interpolation", "TabulatedSchedule"]

Interpolation = Literal["nearest", "log_snr"]
TableLike = Tensor | Sequence[float]

_CPU = torch.device("cpu")
# Stands for an infinite log-SNR between steps; its sigmoid is exactly 0.
_INFINITE = 4000.0


@named_calls
class TabulatedSchedule(NoiseSchedule):
    r"""A schedule of N steps: step k, counted from 0, is at $t_k = (k + 1) / N$.

    "nearest" snaps a time to the nearest step: scales, log-SNR and the time that a prior's network
    is called with are those of the step. "log_snr" interpolates between steps, the log-SNR linearly
    in t, for networks that take fractional steps. Below t = 1 / N both are the first step.

    A last alpha of zero (zero terminal signal-to-noise ratio) is kept exactly.

    Args:
        alpha: the data's scale at each step, (N,), >= 0, float32 or float64.
        sigma: the noise's scale at each step, (N,), >= 0, of a strictly falling alpha / sigma.
        interpolation: "nearest" or "log_snr".

    Raises:
        ArgumentError: for a table that is not one: another shape, half precision, negative or not
            finite, or an alpha / sigma that does not fall strictly.

    Example:
        >>> from scoreregs import TabulatedSchedule
        >>> schedule = TabulatedSchedule([1.0, 0.8, 0.0], [0.0, 0.6, 1.0])
        >>> level = schedule.at(torch.tensor([0.7]))
        >>> level.t, level.alpha, schedule.step(level.t)
        (tensor([0.6667], dtype=torch.float64), tensor([0.8000], dtype=torch.float64), tensor([1]))
    """

    def __init__(
        self, alpha: TableLike, sigma: TableLike, interpolation: Interpolation = "nearest"
    ) -> None:
        if interpolation not in ("nearest", "log_snr"):
            raise ArgumentError(
                f"got interpolation={interpolation!r}, expected one of 'nearest', 'log_snr'"
            )
        alpha, sigma = _checked("alpha", alpha), _checked("sigma", sigma)
        if alpha.shape != sigma.shape:
            raise ArgumentError(
                f"got {len(alpha)} alphas and {len(sigma)} sigmas, expected as many of both"
            )
        _check_falling(alpha, sigma)
        self.interpolation: Interpolation = interpolation
        self._straight = bool(torch.allclose(alpha + sigma, torch.ones_like(alpha), atol=1e-6))
        self._tables = {_CPU: _Table(alpha, sigma, 2 * (alpha.log() - sigma.log()))}

    @classmethod
    @named_calls
    def from_alphas_cumprod(
        cls, alphas_cumprod: TableLike, interpolation: Interpolation = "nearest"
    ) -> Self:
        r"""Returns the schedule of a DDPM: $\alpha^2 = \bar\alpha$, $\sigma^2 = 1 - \bar\alpha$.

        Args:
            alphas_cumprod: the cumulative products of 1 - beta, (N,), in [0, 1], strictly falling.
            interpolation: as for the class.

        Raises:
            ArgumentError: as for the class, and for entries above one.

        Example:
            >>> schedule = TabulatedSchedule.from_alphas_cumprod([0.99, 0.36, 0.0])
            >>> schedule.at(torch.tensor([2 / 3])).sigma
            tensor([0.8000], dtype=torch.float64)
        """
        table = _checked("alphas_cumprod", alphas_cumprod)
        if bool((table > 1).any()):
            raise ArgumentError(
                f"got alphas_cumprod up to {table.max().item():.6g}, expected entries in [0, 1]: "
                "the cumulative product of 1 - beta, not of beta"
            )
        return cls(table.sqrt(), (1 - table).sqrt(), interpolation)

    @override
    def __repr__(self) -> str:
        return f"TabulatedSchedule({self.steps} steps, interpolation={self.interpolation!r})"

    @property
    def steps(self) -> int:
        """N, the number of steps."""
        return len(self._tables[_CPU].alpha)

    @of_tensor
    def step(self, t: Tensor) -> Tensor:
        """Returns the step nearest to t, from 0 to N - 1, int64: the time of a discrete network."""
        return (torch.round(t * self.steps) - 1).clamp(0, self.steps - 1).long()

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (alpha, sigma) at t in [0, 1] of any shape."""
        table = self._table(t.device)
        if self.interpolation == "nearest":
            step = self.step(t)
            return table.alpha[step].to(t.dtype), table.sigma[step].to(t.dtype)
        log_snr = self.log_snr(t)
        radius = torch.exp(self._interpolate(self._log_radius(t.device), t))
        return radius * torch.sigmoid(log_snr).sqrt(), radius * torch.sigmoid(-log_snr).sqrt()

    @override
    def at(self, t: Tensor) -> NoiseLevel:
        check_time(t)
        t = as_time(t)
        if self.interpolation == "nearest":
            step, table = self.step(t), self._table(t.device)
            level = (of[step] for of in (table.alpha, table.sigma, table.log_snr))
            return NoiseLevel((step + 1).to(t.dtype) / self.steps, *level)
        return super().at(t.clamp(min=1 / self.steps))

    @override
    def log_snr(self, t: Tensor) -> Tensor:
        if self.interpolation == "nearest":
            return self._table(t.device).log_snr[self.step(t)].to(t.dtype)
        return self._interpolate(self._finite_log_snr(t.device), t)

    @override
    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self(t)
        slope = self.log_snr_derivative(t) / 2
        growth = self._slope(self._log_radius(t.device), t)
        share = torch.sigmoid(self.log_snr(t))
        return (growth + (1 - share) * slope) * alpha, (growth - share * slope) * sigma

    @override
    def log_snr_derivative(self, t: Tensor) -> Tensor:
        return self._slope(self._finite_log_snr(t.device), t)

    @override
    def velocity(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (-1, 1) on a straight path, alpha = 1 - sigma, and the derivatives elsewhere."""
        return (-torch.ones_like(t), torch.ones_like(t)) if self._straight else self.derivative(t)

    @override
    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        log_snr = as_time(log_snr, name="log_snr")
        self.check_reached(log_snr)
        table = self._finite_log_snr(log_snr.device)
        log_snr = log_snr.clamp(-_INFINITE, _INFINITE)
        after = torch.searchsorted(-table, -log_snr).clamp(1, self.steps - 1)
        high, low = table[after - 1], table[after]
        position = after - (log_snr - low) / (high - low)
        if self.interpolation == "nearest":
            position = torch.round(position)
        return (position + 1) / self.steps

    def _before(self, t: Tensor) -> Tensor:
        """Returns the last step at or before t that has a next one."""
        return (t * self.steps - 1).floor().clamp(0, self.steps - 2).long()

    def _interpolate(self, values: Tensor, t: Tensor) -> Tensor:
        before = self._before(t)
        fraction = (t * self.steps - 1 - before).clamp(0, 1)
        return torch.lerp(values[before].to(t.dtype), values[before + 1].to(t.dtype), fraction)

    def _slope(self, values: Tensor, t: Tensor) -> Tensor:
        self._check_smooth()
        before = self._before(t)
        return ((values[before + 1] - values[before]) * self.steps).to(t.dtype)

    def _finite_log_snr(self, device: torch.device) -> Tensor:
        return self._table(device).log_snr.clamp(-_INFINITE, _INFINITE)

    def _log_radius(self, device: torch.device) -> Tensor:
        table = self._table(device)
        return torch.log(torch.hypot(table.alpha, table.sigma))

    def _table(self, device: torch.device) -> "_Table":
        if device not in self._tables:
            self._tables[device] = self._tables[_CPU].to(device)
        return self._tables[device]

    def _check_smooth(self) -> None:
        if self.interpolation == "nearest":
            raise ArgumentError(
                'got a table with interpolation="nearest", expected one with derivatives (a '
                'flow_prediction on a curved path needs them): use interpolation="log_snr", or the '
                "continuous schedule that the table samples"
            )


@dataclass(frozen=True)
class _Table:
    alpha: Tensor
    sigma: Tensor
    log_snr: Tensor

    def to(self, device: torch.device) -> "_Table":
        return _Table(*(as_time(v, device) for v in (self.alpha, self.sigma, self.log_snr)))


def _checked(name: str, values: TableLike) -> Tensor:
    """Returns a float64 copy on the CPU of a table of finite, non-negative numbers."""
    values = values if isinstance(values, Tensor) else as_time(values, "cpu", name)
    dtype = torch.as_tensor(values).dtype
    table = as_time(values, "cpu", name).clone()
    if dtype in (torch.float16, torch.bfloat16) or table.ndim != 1 or len(table) < 2:
        raise ArgumentError(
            f"got a table of {name} of type {dtype} and shape {tuple(table.shape)}, expected (N,), "
            "N >= 2, in float32 or float64: half precision rounds small noise levels to zero, so "
            "build the table again rather than cast it"
        )
    if not bool((table.isfinite() & (table >= 0)).all()):
        raise ArgumentError(
            f"got a table of {name} from {table.min().item():.6g} to {table.max().item():.6g}, "
            "expected finite numbers >= 0"
        )
    return table


def _check_falling(alpha: Tensor, sigma: Tensor) -> None:
    """Raises `ArgumentError` unless alpha / sigma falls strictly."""
    falls = alpha[:-1] * sigma[1:] > alpha[1:] * sigma[:-1]
    if not bool(falls.all()):
        step = int((~falls).nonzero()[0])
        first, second = ((alpha[i] / sigma[i]).item() for i in (step, step + 1))
        raise ArgumentError(
            f"got alpha / sigma = {first:.6g} at step {step} and {second:.6g} at the next, "
            "expected a ratio that falls strictly: order the table from data to noise (a "
            "scheduler's `sigmas` run the other way), without a repeated or appended end"
        )
