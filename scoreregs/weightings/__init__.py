"""Weightings w of the score residual in Eq. 15."""

from scoreregs.weightings.base import TimeWeighting, Weighting
from scoreregs.weightings.named import WeightingLike, WeightingName, as_weighting
from scoreregs.weightings.of_sample import DMDWeighting, SampleWeighting
from scoreregs.weightings.of_time import (
    SNR,
    AlphaOverSigma,
    CustomWeighting,
    MinSNR,
    Sigma2,
    SigmaOverAlpha,
    Uniform,
)

__all__ = [
    "SNR",
    "AlphaOverSigma",
    "CustomWeighting",
    "DMDWeighting",
    "MinSNR",
    "SampleWeighting",
    "Sigma2",
    "SigmaOverAlpha",
    "TimeWeighting",
    "Uniform",
    "Weighting",
    "WeightingLike",
    "WeightingName",
    "as_weighting",
]
