r"""The estimators of the prior's part of Eq. 15 that are compared: draws times baselines.

All have one expectation, $E_{t, \epsilon}\, \sigma^2 (\hat\epsilon - \epsilon)$ with t uniform in
(.02, .98). Times of another density p are brought to it by the weight $\sigma^2 u(t) / p(t)$, u the
uniform density, as `DensityTimes.weight` does. A fixed time and the descending and annealed ones
of `scoreregs.times` have another expectation, and no row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs import NoiseLevel, NoiseSchedule
from scoreregs.baselines import Baseline, NoBaseline, NoiseBaseline, OptimalNoiseBaseline
from scoreregs.noisers import NoiserLike
from scoreregs.times import (
    AdaptiveTimes,
    ImportanceTimes,
    LogNormalTimes,
    LogSNRTimes,
    PointsLike,
    TimeSampler,
    UniformTimes,
)
from scoreregs.weightings import CustomWeighting, Sigma2, TimeWeighting, Weighting

__all__ = ["BASELINES", "PAPER", "RANGE", "RECOMMENDED", "Draws", "baselines", "draw_plans"]

RANGE = (0.02, 0.98)
BASELINES = ("none", "noise", "optimal_noise")
# Of the draws and of the baseline.
PAPER = "uniform, independent", "noise"
RECOMMENDED = "adaptive, low_discrepancy", "optimal_noise"


@dataclass(frozen=True)
class Draws:
    """How times and noise are drawn, and the weight that goes with the times."""

    name: str
    times: TimeSampler
    weighting: Weighting
    noiser: NoiserLike = "independent"


class Reweighted(TimeWeighting):
    """The weight at which times of another density have the uniform times' expectation.

    Args:
        log_density: of the times in t, at a noise level.
    """

    def __init__(self, log_density: Callable[[NoiseLevel], Tensor]) -> None:
        self._log_density = log_density

    @override
    def log_weight(self, level: NoiseLevel) -> Tensor:
        low, high = RANGE
        return Sigma2().log_weight(level) - math.log(high - low) - self._log_density(level)


def draw_plans(schedule: NoiseSchedule, *, antithetic: bool) -> list[Draws]:
    """Returns the draws that are compared on a schedule.

    Args:
        schedule: the prior's.
        antithetic: whether to pair the noise too, which takes an even number of draws a sample.
    """
    uniform = {
        points: UniformTimes(*RANGE, points=points)
        for points in ("independent", "stratified", "low_discrepancy")
    }
    plans = [Draws(f"uniform, {name}", times, Sigma2()) for name, times in uniform.items()]
    for points in ("independent", "low_discrepancy"):
        plans += [
            Draws(f"log-SNR, {points}", *_log_snr(schedule, points)),
            Draws(f"log-normal, {points}", *_log_normal(schedule, points)),
            Draws(f"importance, {points}", *_importance(schedule, points)),
            Draws(f"adaptive, {points}", *_adaptive(points)),
        ]
    if antithetic:
        plans += [
            Draws(f"{plan.name}, antithetic", plan.times, plan.weighting, "antithetic")
            for plan in plans
            if plan.name in ("uniform, independent", "uniform, low_discrepancy", RECOMMENDED[0])
        ]
    return plans


def baselines() -> dict[str, Baseline]:
    """Returns a fresh baseline of each name."""
    made = (NoBaseline(), NoiseBaseline(), OptimalNoiseBaseline())
    return dict(zip(BASELINES, made, strict=True))


def _importance(schedule: NoiseSchedule, points: PointsLike) -> tuple[TimeSampler, Weighting]:
    times = ImportanceTimes(schedule, Sigma2(), *RANGE, points)
    return times, CustomWeighting(times.weight)


def _adaptive(points: PointsLike) -> tuple[TimeSampler, Weighting]:
    times = AdaptiveTimes(Sigma2(), *RANGE, points)
    return times, CustomWeighting(times.weight)


def _log_snr(schedule: NoiseSchedule, points: PointsLike) -> tuple[TimeSampler, Weighting]:
    highest, lowest = schedule.log_snr(torch.tensor(RANGE, dtype=torch.float64)).tolist()

    def log_density(level: NoiseLevel) -> Tensor:
        return torch.log(-schedule.log_snr_derivative(level.t) / (highest - lowest))

    return LogSNRTimes(schedule, lowest, highest, points), Reweighted(log_density)


def _log_normal(schedule: NoiseSchedule, points: PointsLike) -> tuple[TimeSampler, Weighting]:
    """Log-normal times with the mean and deviation that the uniform ones have."""
    low, high = RANGE
    nodes = low + (high - low) * (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    logarithm = -schedule.log_snr(nodes) / 2
    mean, std = float(logarithm.mean()), float(logarithm.std())
    ends = -schedule.log_snr(torch.tensor(RANGE, dtype=torch.float64)) / 2
    below, above = torch.special.ndtr((ends - mean) / std).tolist()

    def log_density(level: NoiseLevel) -> Tensor:
        standard = (-level.log_snr / 2 - mean) / std
        slope = -schedule.log_snr_derivative(level.t) / 2
        constant = math.log(std * math.sqrt(2 * math.pi) * (above - below))
        return torch.log(slope) - standard.square() / 2 - constant

    return LogNormalTimes(schedule, mean, std, low, high, points), Reweighted(log_density)
