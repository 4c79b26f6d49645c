"""Calls of what an objective consists of: times, noise, baselines, weights, temperatures."""

from typing import Any

import numpy as np
import torch

from scoreregs import VPSchedule, baselines, betas, noisers, times, weightings
from scoreregs.baselines import Baseline, TrainedBaseline
from scoreregs.weightings import Sigma2
from tests.core.calls.values import (
    CONDITION,
    COUNT,
    DECAY,
    GENERATOR,
    GIVEN,
    NAME,
    NAN,
    NUMBER,
    PAIR,
    POSITIVE,
    PRIOR,
    RANGE,
    RULE,
    SAMPLER,
    SCHEDULE,
    TEMPERATURES,
    TENSOR,
    WEIGHTING,
    Call,
    X,
    prior,
)

VP, W = VPSchedule(), Sigma2()
BOUND: list[Any] = [*NUMBER, -0.1, 1.1]
BOUNDS = {"low": BOUND, "high": [*BOUND, 0.0], "points": SAMPLER}

TIMES = {
    "UniformTimes": Call(times.UniformTimes, {}, BOUNDS),
    "FixedTime": Call(times.FixedTime, {"t": 0.5}, {"t": BOUND}),
    "LogSNRTimes": Call(
        times.LogSNRTimes,
        {"schedule": VP},
        {
            "schedule": SCHEDULE,
            "low": [*NUMBER, -1e9],
            "high": [*NUMBER, -10.0],
            "points": SAMPLER,
        },
    ),
    "LogNormalTimes": Call(
        times.LogNormalTimes,
        {"schedule": VP},
        {"schedule": SCHEDULE, "mean": [*NUMBER, 1e9], "std": POSITIVE, **BOUNDS},
    ),
    "LogLogisticTimes": Call(
        times.LogLogisticTimes,
        {"schedule": VP},
        {"schedule": SCHEDULE, "location": [*NUMBER, 1e9], "scale": POSITIVE, **BOUNDS},
    ),
    "ShiftedTimes": Call(times.ShiftedTimes, {"shift": 3.0}, {"shift": POSITIVE, **BOUNDS}),
    "ImportanceTimes": Call(
        times.ImportanceTimes,
        {"schedule": VP, "weighting": W},
        {"schedule": SCHEDULE, "weighting": [*RULE, lambda level: -level.sigma], **BOUNDS},
    ),
    "AdaptiveTimes": Call(
        times.AdaptiveTimes,
        {"weighting": W},
        {"weighting": RULE, **BOUNDS, "bins": [*COUNT, 1], "decay": DECAY},
    ),
    "DescendingTimes": Call(
        times.DescendingTimes,
        {"steps": 3},
        {"steps": COUNT, "over": [*RANGE, 0.5, times.FixedTime(0.5)]},
    ),
    "AnnealedTimes": Call(
        times.AnnealedTimes,
        {"start": (0.02, 0.98), "end": (0.02, 0.5), "steps": 3},
        {"start": [*RANGE, 0.5], "end": [*RANGE, 0.5], "steps": COUNT, "points": SAMPLER},
    ),
    "named_times": Call(
        times.named_times,
        {"name": "importance", "schedule": VP, "weighting": W},
        {
            "name": [*NAME, None],
            "schedule": SCHEDULE,
            "times": RANGE,
            "log_snr": [*PAIR, (-1e9, 0.0), (4.0, -4.0)],
            "points": SAMPLER,
            "weighting": RULE,
        },
    ),
    "as_times": Call(times.as_times, {"times": 0.5}, {"times": [*RANGE, "uniform"]}),
    "check_times": Call(
        times.check_times,
        {"times": torch.ones(2)},
        {"times": [None, 0.5, "now", torch.tensor([NAN]), torch.tensor([2.0])]},
        names=False,
    ),
}
NOISERS = {
    "IndependentNoise": Call(noisers.IndependentNoise),
    "AntitheticNoise": Call(noisers.AntitheticNoise),
    "FixedNoise": Call(
        noisers.FixedNoise, {"noise": X}, {"noise": [None, 3, "x", X.long(), X / 0]}
    ),
    "InvertedNoise": Call(
        noisers.InvertedNoise,
        {},
        {
            "steps": COUNT,
            "condition": ["left", 3, np.ones(2)],
            "target": [*NAME, None],
            "start": [*NUMBER, -0.1, 1.0],
        },
    ),
    "as_noiser": Call(
        noisers.as_noiser,
        {"noiser": "antithetic"},
        {"noiser": [*NAME, None, noisers.IndependentNoise]},
    ),
}
CHOSEN: list[Any] = ["left", 3, np.ones(2)]
BASELINES = {
    "NoiseBaseline": Call(baselines.NoiseBaseline),
    "NoBaseline": Call(baselines.NoBaseline),
    "OptimalNoiseBaseline": Call(
        baselines.OptimalNoiseBaseline, {}, {"bins": COUNT, "decay": DECAY}
    ),
    "PriorBaseline": Call(
        baselines.PriorBaseline, {"prior": prior()}, {"prior": PRIOR, "condition": CHOSEN}
    ),
    "TrainedBaseline": Call(
        TrainedBaseline,
        {"prior": prior()},
        {"prior": PRIOR, "times": [*RANGE, 1.5], "generator": GENERATOR},
    ),
    "TrainedBaseline.loss": Call(
        TrainedBaseline(prior()).loss,
        {"x": X},
        {
            "x": TENSOR,
            "condition": CONDITION,
            "t": ["now", 0.5, torch.ones(3), torch.ones(4).long(), torch.full((4,), 2.0)],
            "noise": GIVEN,
        },
    ),
    "ReferenceBaseline": Call(
        baselines.ReferenceBaseline,
        {"reference": X},
        {"reference": [None, 3, "x", np.ones((4, 2)), X.long(), X[0, 0]], "condition": CHOSEN},
    ),
    "ScoreIdentityBaseline": Call(
        baselines.ScoreIdentityBaseline,
        {"prior": prior()},
        {
            "prior": PRIOR,
            "a": POSITIVE,
            "huber": [v for v in POSITIVE if v is not None],
            "condition": CHOSEN,
        },
    ),
    "as_baseline": Call(
        baselines.as_baseline, {"baseline": "none"}, {"baseline": [*NAME, None, Baseline]}
    ),
}
WEIGHTINGS = {
    **{
        name: Call(getattr(weightings, name))
        for name in (
            "Sigma2",
            "Uniform",
            "AlphaOverSigma",
            "SigmaOverAlpha",
            "SNR",
            "DMDWeighting",
        )
    },
    "MinSNR": Call(weightings.MinSNR, {}, {"gamma": POSITIVE}),
    "CustomWeighting": Call(
        weightings.CustomWeighting, {"function": lambda level: level.sigma}, {"function": RULE}
    ),
    "SampleWeighting": Call(
        weightings.SampleWeighting, {"function": lambda level, x, d: level.t}, {"function": RULE}
    ),
    "as_weighting": Call(
        weightings.as_weighting, {"weighting": "snr"}, {"weighting": [*WEIGHTING, Sigma2]}
    ),
}
BETAS = {
    "AnnealedBeta": Call(
        betas.AnnealedBeta,
        {"start": 1.0, "end": [0.1, 0.2], "steps": 3},
        {"start": TEMPERATURES, "end": TEMPERATURES, "steps": COUNT},
    ),
    "TargetBeta": Call(
        betas.TargetBeta,
        {"ratio": 1.5},
        {
            "ratio": TEMPERATURES,
            "start": TEMPERATURES,
            "rate": [*NUMBER, 0.0, 1.0],
            "decay": DECAY,
        },
    ),
}

CALLS = {
    **{f"times.{name}": call for name, call in TIMES.items()},
    **{f"noisers.{name}": call for name, call in NOISERS.items()},
    **{f"baselines.{name}": call for name, call in BASELINES.items()},
    **{f"weightings.{name}": call for name, call in WEIGHTINGS.items()},
    **{f"betas.{name}": call for name, call in BETAS.items()},
}
