r"""Noise schedules: how much of the data and how much noise there is at a time.

A schedule maps a time $t \in [0, 1]$ (0 is data, 1 is noise) to the two scales of the forward
process

$$ x_t = \alpha(t)\, x + \sigma(t)\, \epsilon, \qquad \epsilon \sim \mathcal N(0, I). $$

Only the log signal-to-noise ratio $\lambda(t) = 2 \log(\alpha(t) / \sigma(t))$ means the same for
every schedule; it falls strictly with t.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoreregs.arguments import check_has_values
from scoreregs.devices import present_device
from scoreregs.errors import ArgumentError
from scoreregs.reprs import Constructed
from scoreregs.scalars import plain

__all__ = ["NoiseLevel", "NoiseSchedule", "as_time", "check_schedule", "of_tensor", "time_dtype"]

_BISECTIONS = 64
# What takes a tensor of times: its formulas are torch's.
_OF_TIME = ("__call__", "log_snr", "derivative", "velocity", "log_snr_derivative")
# exp(bound / 2) overflows float64, exp(-bound / 2) is 0, and sums of a few bounds stay finite.
_LOG_SNR_BOUND = 4000.0


def as_time(
    t: float | Sequence[float] | Tensor,
    device: torch.device | str | None = None,
    name: str = "times",
) -> Tensor:
    """Returns t as a tensor of the dtype in which times and tables live; `name` is for errors.

    That dtype is float64 (float32 on devices without it): a half-precision time rounds the small
    noise levels to zero.
    """
    if isinstance(t, Tensor):
        if device is None and t.dtype == torch.float64:
            return t
    else:
        if isinstance(t, bool) or not _numbers(t):
            raise ArgumentError(
                f"got {name} {t!r}, expected a number, a list of numbers of one length, or a tensor"
            )
        # Straight from Python's double: by way of float32 0.3 would become 0.30000001.
        t = torch.as_tensor(t, dtype=torch.float64, device="cpu")
        device = torch.get_default_device() if device is None else device
    if not isinstance(device, torch.device):
        device = t.device if device is None else present_device(device)
    if device.type != "meta":
        check_has_values(name, t)
    if t.is_complex():
        raise ArgumentError(f"got {name} of type {t.dtype}, expected real ones")
    return t.to(device, time_dtype(device))


def time_dtype(device: torch.device) -> torch.dtype:
    """Returns the dtype of times and tables on a device."""
    return torch.float32 if device.type == "mps" else torch.float64


def _numbers(values: object) -> bool:
    """Whether these are a number, or nested lists of numbers that are not ragged."""
    try:
        torch.as_tensor(values, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


@dataclass(frozen=True)
class NoiseLevel:
    """A schedule evaluated at a batch of times.

    Attributes:
        t: the times, (batch,), in [0, 1].
        alpha: the scale of the data, (batch,), >= 0.
        sigma: the scale of the noise, (batch,), >= 0.
        log_snr: 2 log(alpha / sigma), (batch,); infinite where alpha or sigma is zero.
    """

    t: Tensor
    alpha: Tensor
    sigma: Tensor
    log_snr: Tensor

    @property
    def bounded_log_snr(self) -> Tensor:
        """The log-SNR with its infinities made large, so that sums of logarithms have no NaN."""
        return self.log_snr.clamp(-_LOG_SNR_BOUND, _LOG_SNR_BOUND)


def check_schedule(schedule: object) -> None:
    """Raises `ArgumentError` unless a schedule is one."""
    if not isinstance(schedule, NoiseSchedule):
        raise ArgumentError(
            f"got a schedule of type {type(schedule).__name__}, expected a NoiseSchedule, for "
            "instance scoreregs.VPSchedule() (an instance, not the class)"
        )
    if not type(schedule).__module__.startswith("scoreregs."):
        _check_own(schedule)


def _check_own(schedule: "NoiseSchedule") -> None:
    """Raises `ArgumentError` for a schedule of one's own that returns, or means, something else."""
    name, t = type(schedule).__name__, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    try:
        alpha, sigma = (torch.as_tensor(scale, device="cpu").expand(3) for scale in schedule(t))
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"got a {name} whose call raised {type(error).__name__}: {error}; expected it to "
            "return (alpha, sigma) of times (batch,)"
        ) from error
    except RuntimeError:  # as of tables on another device
        return
    if not bool(alpha[0] * sigma[2] > alpha[2] * sigma[0]):
        raise ArgumentError(
            f"got a {name} with no more noise at t = .75 than at .25, expected t = 0 to be the "
            "data and 1 the noise: give it 1 - t, and the network its own time by time_map"
        )


def check_time(t: object) -> None:
    """Raises `ArgumentError` for a number outside [0, 1]."""
    if isinstance(t, Tensor):
        return
    t = plain(t)
    if isinstance(t, (int, float)) and not 0 <= t <= 1:
        raise ArgumentError(
            f"got t={t}, expected a time in [0, 1]: 0 is data, 1 is noise; a step k of N is "
            "(k + 1) / N"
        )


class NoiseSchedule(Constructed, ABC):
    r"""A noise schedule, abstract in `__call__`.

    Derivatives, the log signal-to-noise ratio and its inverse are derived from it; override one
    where a closed form is more exact (`scoreregs.testing.ScheduleContract` compares them).

    Example:
        >>> class Linear(NoiseSchedule):
        ...     def __call__(self, t):
        ...         return 1 - t, t
        >>> Linear().t_from_log_snr(torch.tensor([0.0], dtype=torch.float64))
        tensor([0.5000], dtype=torch.float64)
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in _OF_TIME:
            if name in vars(cls):
                setattr(cls, name, of_tensor(vars(cls)[name]))

    @abstractmethod
    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (alpha, sigma), both of t's shape and dtype, for t in [0, 1] of any shape."""

    def at(self, t: Tensor) -> NoiseLevel:
        """Returns the noise level at times t of any shape, in float64.

        Args:
            t: in [0, 1]; a tensor is not looked at, which would wait for its device: beyond its
                range the formulas go on, or give NaN.

        Raises:
            ArgumentError: for a number outside [0, 1], or what is no number.
        """
        check_time(t)
        t = as_time(t)
        alpha, sigma = self(t)
        return NoiseLevel(t, alpha, sigma, self.log_snr(t))

    def log_snr(self, t: Tensor) -> Tensor:
        """Returns 2 log(alpha / sigma) at t, which falls strictly with t."""
        alpha, sigma = self(t)
        return 2 * (torch.log(alpha) - torch.log(sigma))

    def derivative(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (d alpha / dt, d sigma / dt) at t, by forward-mode differentiation."""
        return _along_time(self, t)

    def velocity(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (a, b) of the a x + b epsilon that a flow network predicts: the derivatives.

        A schedule whose flow networks keep another time than t, as behind a shift, overrides it.
        """
        return self.derivative(t)

    def log_snr_derivative(self, t: Tensor) -> Tensor:
        """Returns d log_snr / dt at t, which is negative."""
        return _along_time(self.log_snr, t)

    def t_from_log_snr(self, log_snr: Tensor) -> Tensor:
        """Returns the t at which the log signal-to-noise ratio is `log_snr`, by bisection.

        Args:
            log_snr: any shape, between log_snr(1) and log_snr(0).

        Raises:
            ArgumentError: where the schedule never has that ratio.
        """
        log_snr = as_time(log_snr, name="log_snr")
        self.check_reached(log_snr)
        low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            noisier = self.log_snr(middle) < log_snr
            low, high = torch.where(noisier, low, middle), torch.where(noisier, middle, high)
        return (low + high) / 2

    def check_reached(self, log_snr: Tensor) -> None:
        """Raises `ArgumentError` unless the schedule has these ratios (waits for the device)."""
        log_snr = as_time(log_snr, name="log_snr")
        ends = self.log_snr(torch.tensor([0.0, 1.0], dtype=log_snr.dtype, device=log_snr.device))
        if bool(((log_snr > ends[0]) | (log_snr < ends[1])).any()):
            raise ArgumentError(
                f"got a log-SNR between {log_snr.min().item():.6g} and {log_snr.max().item():.6g}, "
                f"expected one between {ends[1].item():.6g} (t = 1) and {ends[0].item():.6g} "
                f"(t = 0) of {type(self).__name__}: clamp it or widen the schedule"
            )


def of_tensor(method: Callable[[Any, Tensor], Any]) -> Callable[[Any, Tensor], Any]:
    """Returns a method of times that refuses what is no tensor."""

    @functools.wraps(method)
    def call(self: Any, t: Tensor) -> Any:
        if not isinstance(t, Tensor):
            raise ArgumentError(
                f"got t of type {type(t).__name__}, expected a tensor of times in [0, 1]: use "
                "torch.tensor(t), or schedule.at(t), which takes numbers too"
            )
        return method(self, t)

    return call


def _along_time(function: Callable[[Tensor], Any], t: Tensor) -> Any:
    """Returns the derivative of a function of t, of its result's structure."""
    t = t.contiguous()  # forward mode refuses an expanded tensor, which one time for a batch is
    return torch.func.jvp(function, (t,), (torch.ones_like(t),))[1]
