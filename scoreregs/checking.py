r"""Whether a prior is plugged in right: its denoising error, and the likely cause of a bad one."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.errors import ArgumentError
from scoreregs.kernel import diffuse
from scoreregs.predictions import PREDICTIONS
from scoreregs.prior import NetworkPrior, ScorePrior
from scoreregs.schedules import NoiseLevel, NoiseSchedule, as_time
from scoreregs.trees import Condition, map_tensors
from scoreregs.validation import check_data

__all__ = ["PriorReport", "check_prior"]

_LOG_SNRS = (4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, -4.0)
_ROWS = 2048
# Not a seed that data is likely to be drawn with: noise that equals the data is not noise.
_SEED = 7_310_521
# A prior may miss the best constant by this much at one time: noise of the estimate, and networks
# that are weak at one end.
_SLACK = 1.5
# Another reading of the prior is the likely one when its error is this much smaller.
_BETTER = 0.97
_UNEXPLAINED = "no other reading is better: is it trained on such data with this condition?"


@dataclass(frozen=True)
class PriorReport:
    """The denoising error of a prior on data.

    Attributes:
        t: the times.
        error: mean squared error of the predicted noise at each time, per element of an event.
        constant: the error of the best constant: of the noise (zero) or of the data (its mean),
            whichever is better.
        ok: whether the prior beats the constant, and no other reading of it does much better.
        cause: the likely cause and its remedy where it is not ok, else None.
    """

    t: tuple[float, ...]
    error: tuple[float, ...]
    constant: tuple[float, ...]
    ok: bool
    cause: str | None

    @override
    def __str__(self) -> str:
        rows = [
            f"{t:7.4f}  {error:10.4f}  {constant:13.4f}"
            for t, error, constant in zip(self.t, self.error, self.constant, strict=True)
        ]
        verdict = "ok: plugged in right" if self.ok else f"not ok: {self.cause}"
        return "\n".join(["      t       error  best constant", *rows, verdict])


def check_prior(
    prior: ScorePrior,
    data: Tensor,
    condition: Condition = None,
    *,
    generator: torch.Generator | None = None,
) -> PriorReport:
    r"""Returns the denoising error of a prior by time, against the best constant.

    $$ e(t) = \tfrac1d\, \mathbb E \| \hat\epsilon(\alpha x + \sigma \epsilon, t) - \epsilon \|^2,
       \qquad \min\big(1,\; \tfrac{\alpha^2}{\sigma^2} \operatorname{Var} x\big) $$

    at log-SNRs from 4 to -4, on up to 2048 rows of the data. Where a prior does not beat the
    constant, or does much better when its output is negated, read as another prediction type, when
    its time is reversed or scaled, the data scaled or the schedule shifted, the report says so.

    Args:
        prior: the prior to check.
        data: samples that it should know, (count, *event), at least 2.
        condition: what they are conditioned on, batch first.
        generator: the source of noise, on the data's device; a fixed one by default.

    Raises:
        ArgumentError: for less than two samples, samples without variance or not finite, or a
            condition of another length.
        PriorError: where the prior does not return a tensor of its input's shape.

    Example:
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> check_prior(prior, torch.randn(500, 1, generator=torch.Generator().manual_seed(0))).ok
        True
    """
    check_data(data, condition, least=2)
    x = data[:_ROWS]
    condition = map_tensors(lambda c: c[:_ROWS], condition)
    generator = generator or torch.Generator(data.device).manual_seed(_SEED)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    if not bool(x.std(0).max() > 0):
        raise ArgumentError("got data without variance, expected samples that differ")
    probe = _Probe(prior, x, condition, noise)
    plain = probe.measure(_PLAIN)
    beats = all(e <= _SLACK * c for e, c in zip(plain.error, plain.constant, strict=True))
    beats = beats and sum(plain.error) < sum(plain.constant)
    better = []
    for reading in _other_readings(prior, x):
        # Against data that is as hard to denoise: the log-SNR makes up for a scale. So a right
        # prior is never beaten.
        shift = 2 * math.log(reading.scale)
        rival = probe.measure(_PLAIN, shift) if shift else plain
        measured = probe.measure(reading)
        if measured.relative < _BETTER * rival.relative:
            better.append((measured.relative, reading.cause))
    cause = min(better)[1] if better else None if beats else _UNEXPLAINED
    return PriorReport(plain.t, plain.error, plain.constant, ok=cause is None, cause=cause)


@dataclass(frozen=True)
class _Reading:
    """Another way to read a prior, and what is wrong if it is the right one."""

    cause: str
    sign: float = 1.0
    prediction: str | None = None
    time: Callable[[Tensor], Tensor] = lambda t: t
    scale: float = 1.0


_PLAIN = _Reading("")


def _other_readings(prior: ScorePrior, x: Tensor) -> Iterator[_Reading]:
    yield _Reading("sign: the error falls when the output is negated; negate it", sign=-1.0)
    for name in _existing_predictions(prior.schedule):
        yield _Reading(
            f'prediction: the error falls when the output is read as prediction="{name}"',
            prediction=name,
        )
    times = [("reversed, 1 - t", lambda t: 1 - t), ("scaled by 1/1000", lambda t: t / 1000)]
    # A time map or a prior of the user's may look t up in a table, which ends at t = 1.
    if isinstance(prior, NetworkPrior) and prior.time_map is None:
        times.append(("scaled by 1000", lambda t: 1000 * t))
    for text, time in times:
        yield _Reading(
            f"time map: the error falls when the time is {text}; set time_map", time=time
        )
    std = x.double().std().item()
    for scale in {0.25, 0.5, 2.0, 4.0, 1 / std}:
        if abs(scale - 1) > 0.2:
            yield _Reading(
                f"scaling: the error falls when the data is multiplied with {scale:.3g}; "
                "scale it as in training",
                scale=scale,
            )
    for shift in (-2.0, -1.0, 1.0, 2.0):
        yield _Reading(
            f"schedule: the error falls when the log-SNR is {shift:+g} off the schedule's; "
            "use the schedule of training",
            time=partial(_shifted, prior.schedule, shift),
        )


def _shifted(schedule: NoiseSchedule, shift: float, t: Tensor) -> Tensor:
    """Returns the times at which a schedule claims a log-SNR lower by `shift` than at t."""
    return _times_of(schedule, schedule.log_snr(t) - shift)


def _times_of(schedule: NoiseSchedule, log_snr: Tensor) -> Tensor:
    """Returns the times of log-SNRs, the nearest one where the schedule does not reach them."""
    ends = schedule.log_snr(as_time([0.0, 1.0], log_snr.device))
    return schedule.t_from_log_snr(log_snr.clamp(ends[1], ends[0]))


def _existing_predictions(schedule: NoiseSchedule) -> Iterator[str]:
    """Yields the predictions that the schedule has: a table that snaps has no velocity."""
    level = schedule.at(torch.tensor([0.5]))
    for name, prediction in PREDICTIONS.items():
        with suppress(ArgumentError):
            prediction.log_factor(level, schedule)
            yield name


@dataclass(frozen=True)
class _Measurement:
    t: tuple[float, ...]
    error: tuple[float, ...]
    constant: tuple[float, ...]
    relative: float


@dataclass(frozen=True)
class _Probe:
    prior: ScorePrior
    x: Tensor
    condition: Condition
    noise: Tensor

    def log_snrs(self) -> Tensor:
        """Returns the probed log-SNRs that the schedule reaches."""
        schedule = self.prior.schedule
        ends = schedule.at(as_time([0.0, 1.0], self.x.device)).bounded_log_snr
        log_snr = torch.tensor(_LOG_SNRS, dtype=ends.dtype, device=ends.device)
        inside = log_snr[(log_snr <= ends[0]) & (log_snr >= ends[1])]
        if not len(inside):
            raise ArgumentError(
                f"got a schedule with log-SNRs from {ends[1].item():.3g} to {ends[0].item():.3g}, "
                f"expected some between {_LOG_SNRS[-1]:g} and {_LOG_SNRS[0]:g}: widen it"
            )
        return inside

    def measure(self, reading: _Reading, log_snr_shift: float = 0.0) -> _Measurement:
        """Returns the prior's errors under a reading, and their mean relative to a Gaussian's."""
        x = self.x * reading.scale
        variance = x.double().var(0).mean().item()
        times = _times_of(self.prior.schedule, self.log_snrs() + log_snr_shift)
        errors, constants, relatives = [], [], []
        for t in times:
            level = self.prior.schedule.at(t.expand(len(x)))
            snr = (level.alpha[0] / level.sigma[0]).square().item() * variance
            error = self._error(x, level, reading)
            errors.append(error)
            constants.append(min(1.0, snr))
            relatives.append(error * (1 + snr) / snr)
        relative = sum(relatives) / len(relatives)
        if relative != relative:
            relative = float("inf")
        return _Measurement(tuple(times.tolist()), tuple(errors), tuple(constants), relative)

    def _error(self, x: Tensor, level: NoiseLevel, reading: _Reading) -> float:
        prior = self.prior
        prediction = PREDICTIONS.get(reading.prediction or "", prior.prediction)
        x_t = diffuse(x, self.noise, level)
        seen = replace(level, t=reading.time(level.t))
        with prior.evaluating():
            output = reading.sign * prior.checked_predict(x_t, seen, self.condition)
            epsilon = prediction.epsilon(output, x_t, level, prior.schedule)
        return (epsilon - self.noise).double().square().mean().item()
