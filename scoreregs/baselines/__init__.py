"""Baselines b, subtracted from the predicted noise in Eq. 15."""

from scoreregs.baselines.base import Baseline
from scoreregs.baselines.named import BaselineLike, BaselineName, as_baseline
from scoreregs.baselines.noise import NoBaseline, NoiseBaseline
from scoreregs.baselines.optimal import OptimalNoiseBaseline
from scoreregs.baselines.prior import PriorBaseline, TrainedBaseline
from scoreregs.baselines.reference import ReferenceBaseline

__all__ = [
    "Baseline",
    "BaselineLike",
    "BaselineName",
    "NoBaseline",
    "NoiseBaseline",
    "OptimalNoiseBaseline",
    "PriorBaseline",
    "ReferenceBaseline",
    "TrainedBaseline",
    "as_baseline",
]
