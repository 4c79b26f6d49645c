"""Other ways to read a prior: what it predicts, of which schedule, at which time, of which data."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.errors import ArgumentError
from scoreregs.predictions import PREDICTIONS, Prediction
from scoreregs.prior import NetworkPrior, ScorePrior
from scoreregs.schedules import (
    CosineSchedule,
    EDMSchedule,
    NoiseSchedule,
    RectifiedFlowSchedule,
    SubVPSchedule,
    TabulatedSchedule,
    VESchedule,
    VPSchedule,
    as_time,
)

__all__ = ["DataMap", "Reading", "View", "named_maps", "predictions_under", "views"]

# Maps nearer to the identity than this are not a mistake, of a deviation of one.
_NEGLIGIBLE = 0.1


@dataclass(frozen=True)
class DataMap:
    """An affine map of the data: x becomes scale x + shift.

    Attributes:
        scale: > 0.
        shift: of every element.
        name: how the map is written down, as "x * 2 - 1".
    """

    scale: float = 1.0
    shift: float = 0.0
    name: str = ""

    def __call__(self, x: Tensor) -> Tensor:
        """Returns scale x + shift."""
        return x if self == DataMap() else self.scale * x + self.shift

    @override
    def __str__(self) -> str:
        shift = f" {'-' if self.shift < 0 else '+'} {abs(self.shift):.3g}" if self.shift else ""
        return self.name or f"x * {self.scale:.3g}{shift}"

    def is_near(self, other: "DataMap", deviation: float) -> bool:
        """Whether two maps differ by little on data of this standard deviation."""
        offset = abs(self.shift - other.shift) / (self.scale * deviation)
        return abs(math.log(self.scale / other.scale)) < _NEGLIGIBLE and offset < _NEGLIGIBLE


@dataclass(frozen=True)
class View:
    """How a prior is shown data: noised under a schedule, at a mapped time.

    Attributes:
        schedule: the schedule.
        time: maps the schedule's time to the one that the prior is called with, if another.
        finding: what is wrong if that is right.
    """

    schedule: NoiseSchedule
    time: Callable[[Tensor], Tensor] | None = None
    finding: str = ""


@dataclass(frozen=True)
class Reading:
    """A way to read a prior.

    Attributes:
        prediction: what its network returns.
        view: how it is shown data.
        data: the map that the data takes before.
        sign: 1, or -1 where its output is negated.
    """

    prediction: Prediction
    view: View
    data: DataMap = DataMap()
    sign: float = 1.0

    @property
    def schedule(self) -> NoiseSchedule:
        """The schedule."""
        return self.view.schedule

    def findings(self, claimed: "Reading") -> list[str]:
        """Returns in which ways it differs from what is claimed, each with its remedy."""
        found = []
        if self.sign != claimed.sign:
            found.append("sign: the error falls when the output is negated; negate it")
        if self.prediction is not claimed.prediction:
            name = self.prediction.name
            found.append(
                f'prediction: the error falls when the output is read as prediction="{name}"'
            )
        if self.view.finding:
            found.append(self.view.finding)
        if self.data != claimed.data:
            found.append(_data_finding(self.data))
        if self.schedule is not claimed.schedule:
            shift = _log_snr_shift(self.schedule, claimed.schedule)
            found.append(
                f"schedule: the error falls under {self.schedule!r}, where the log-SNR is "
                f"{shift:+.2g} off the schedule's; use the schedule of training"
            )
        return found


def _data_finding(data: DataMap) -> str:
    how = f"multiplied with {data.scale:.3g}" if not data.shift else f"scaled, {data}"
    if not data.shift and data.name:
        how += f", {data}"
    return f"scaling: the error falls when the data x is {how}; scale it as in training"


def _log_snr_shift(schedule: NoiseSchedule, claimed: NoiseSchedule) -> float:
    t = as_time(torch.linspace(0.1, 0.9, 9))
    return (schedule.at(t).bounded_log_snr - claimed.at(t).bounded_log_snr).mean().item()


def _times_of(schedule: NoiseSchedule, log_snr: Tensor) -> Tensor:
    """Returns the times of log-SNRs, the nearest one where the schedule does not reach them."""
    ends = schedule.log_snr(as_time([0.0, 1.0], log_snr.device))
    return schedule.t_from_log_snr(log_snr.clamp(ends[1], ends[0])).clamp(0, 1)


def predictions_under(prior: ScorePrior, schedule: NoiseSchedule) -> Iterator[Prediction]:
    """Yields the prior's own prediction and those that a schedule has.

    A table that snaps has no velocity.
    """
    level = schedule.at(torch.tensor([0.5]))
    yield prior.prediction
    for prediction in PREDICTIONS.values():
        if prediction is not prior.prediction:
            with suppress(ArgumentError):
                prediction.log_factor(level, schedule)
                yield prediction


def views(prior: ScorePrior, x: Tensor) -> Iterator[tuple[View, Sequence[DataMap]]]:
    """Yields how a prior may have been shown data in training, with maps of the data.

    The claimed view and the identity come first.
    """
    claimed = prior.schedule
    ranges, grid = list(_range_maps(x)), list(_grid_maps(x))
    yield View(claimed), [*named_maps(x), *grid]
    others = [schedule for schedule in _schedules() if not _alike(schedule, claimed)]
    for schedule in others:
        yield View(schedule), [*ranges, *grid]
    for text, time in _times(prior):
        finding = f"time map: the error falls when the time is {text}; set time_map"
        yield View(claimed, time, finding), ranges
        for schedule in others:
            yield View(schedule, time, finding), [DataMap()]
    for shift in (-2.0, -1.0, 1.0, 2.0):
        finding = (
            f"schedule: the error falls when the log-SNR is {shift:+g} off the schedule's; "
            "use the schedule of training"
        )
        yield View(claimed, partial(_shifted, claimed, shift), finding), [DataMap()]


@cache
def _schedules() -> tuple[NoiseSchedule, ...]:
    """Returns the schedules that networks are trained under, with the field's constants."""
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    stable_diffusion = TabulatedSchedule.from_alphas_cumprod(
        torch.cumprod(1 - roots.square(), dim=0), "log_snr"
    )
    return (
        VPSchedule(),
        CosineSchedule(),
        RectifiedFlowSchedule(),
        RectifiedFlowSchedule(3.0),
        VESchedule(),
        EDMSchedule(),
        SubVPSchedule(),
        stable_diffusion,
    )


def _alike(schedule: NoiseSchedule, claimed: NoiseSchedule) -> bool:
    """Whether two schedules are so near to each other that one serves for the other."""
    t = as_time(torch.linspace(0.05, 0.95, 19))
    first, second = schedule.at(t), claimed.at(t)
    # Compared at the times that a table snaps to.
    first = schedule.at(second.t)
    apart = (first.bounded_log_snr - second.bounded_log_snr).abs().max()
    scaled = torch.hypot(first.alpha, first.sigma) / torch.hypot(second.alpha, second.sigma)
    return bool(apart < 0.2) and bool((scaled.log().abs() < 0.05).all())


def _times(prior: ScorePrior) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    yield "reversed, 1 - t", lambda t: 1 - t
    yield "scaled by 1/1000", lambda t: t / 1000
    # A time map or a prior of the user's may look t up in a table, which ends at t = 1.
    if isinstance(prior, NetworkPrior) and prior.time_map is None:
        yield "scaled by 1000", lambda t: (1000 * t).clamp(max=999)


def _shifted(schedule: NoiseSchedule, shift: float, t: Tensor) -> Tensor:
    """Returns the times at which a schedule claims a log-SNR lower by `shift` than at t."""
    return _times_of(schedule, schedule.log_snr(t) - shift)


def named_maps(x: Tensor) -> Iterator[DataMap]:
    """Yields the maps that data like x may have missed, the identity first."""
    deviation = x.double().std().item()
    yield from _range_maps(x)
    for scale in (0.25, 0.5, 2.0, 4.0):
        yield DataMap(scale)
    if abs(math.log(deviation)) > _NEGLIGIBLE:
        yield DataMap(1 / deviation)


def _range_maps(x: Tensor) -> Iterator[DataMap]:
    low, high = x.min().item(), x.max().item()
    yield DataMap()
    if low > -0.7 and high < 1.7:
        yield DataMap(2.0, -1.0, "x * 2 - 1")
        yield DataMap(255.0, 0.0, "x * 255")
    if -2.5 < low < 0 and high < 2.5:
        yield DataMap(0.5, 0.5, "(x + 1) / 2")
        yield DataMap(127.5, 127.5, "(x + 1) * 127.5")
    if high > 20:
        yield DataMap(1 / 127.5, -1.0, "x / 127.5 - 1")
        yield DataMap(1 / 255.0, 0.0, "x / 255")


def _grid_maps(x: Tensor) -> Iterator[DataMap]:
    """Yields maps onto the usual ranges, and a grid by the deviation and mean that they lead to."""
    mean, deviation = x.double().mean().item(), x.double().std().item()
    low, high = x.double().min().item(), x.double().max().item()
    for start, width in ((0.0, 1.0), (-1.0, 2.0)):
        yield DataMap(width / (high - low), start - width * low / (high - low))
    for scale in (0.35, 1.2):
        for offset in (-1.0, -0.5, 0.0, 0.5, 1.0):
            factor = scale / deviation
            yield DataMap(factor, scale * offset - factor * mean)
