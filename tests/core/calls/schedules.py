"""Calls of schedules and predictions."""

import torch

import scoreregs
from scoreregs import TabulatedSchedule, VPSchedule
from scoreregs.predictions import Epsilon, Flow, Sample, Score, Velocity, as_prediction
from scoreregs.priors.edm import Preconditioned
from scoreregs.schedules import NoiseSchedule, as_time
from tests.core.calls.values import NAME, NAN, NUMBER, POINTS, POSITIVE, RAGGED, Call

TABLE, TIMES = [0.99, 0.5, 0.01], ["now", 0.5, None, [0.1], RAGGED]
RATIO = ["high", None, RAGGED, 1e9, [-1e9]]

CALLS = {
    "VPSchedule": Call(VPSchedule, {}, {"beta_min": POSITIVE, "beta_max": POSITIVE}),
    "SubVPSchedule": Call(
        scoreregs.SubVPSchedule, {}, {"beta_min": POSITIVE, "beta_max": POSITIVE}
    ),
    "CosineSchedule": Call(scoreregs.CosineSchedule, {}, {"offset": [*NUMBER, -1.0]}),
    "RectifiedFlowSchedule": Call(scoreregs.RectifiedFlowSchedule, {}, {"shift": POSITIVE}),
    "VESchedule": Call(
        scoreregs.VESchedule, {}, {"sigma_min": POSITIVE, "sigma_max": [*POSITIVE, 1e-9]}
    ),
    "EDMSchedule": Call(
        scoreregs.EDMSchedule,
        {},
        {"sigma_min": POSITIVE, "sigma_max": POSITIVE, "rho": POSITIVE},
    ),
    "TabulatedSchedule": Call(
        TabulatedSchedule,
        {"alpha": TABLE, "sigma": [0.1, 0.5, 0.9]},
        {"alpha": POINTS, "sigma": [*POINTS, TABLE[:2], [NAN] * 3], "interpolation": NAME},
    ),
    "TabulatedSchedule.from_alphas_cumprod": Call(
        TabulatedSchedule.from_alphas_cumprod,
        {"alphas_cumprod": TABLE},
        {"alphas_cumprod": [*POINTS, TABLE[::-1], [2.0, 1.0]], "interpolation": NAME},
    ),
    "NoiseSchedule.at": Call(
        VPSchedule().at, {"t": 0.5}, {"t": ["now", None, 2.0, -0.1, NAN, True, RAGGED]}, names=False
    ),
    "NoiseSchedule.__call__": Call(
        VPSchedule(), {"t": torch.ones(2)}, {"t": TIMES}, of=VPSchedule().__call__, names=False
    ),
    **{
        f"NoiseSchedule.{name}": Call(
            getattr(VPSchedule(), name), {"t": torch.ones(2)}, {"t": TIMES}, names=False
        )
        for name in ("log_snr", "derivative", "velocity", "log_snr_derivative")
    },
    "NoiseSchedule.t_from_log_snr": Call(
        lambda log_snr: NoiseSchedule.t_from_log_snr(scoreregs.EDMSchedule(), log_snr),
        {"log_snr": 0.0},
        {"log_snr": RATIO},
        names=False,
    ),
    "NoiseSchedule.check_reached": Call(
        scoreregs.EDMSchedule().check_reached,
        {"log_snr": torch.zeros(2)},
        {"log_snr": RATIO},
        names=False,
    ),
    "TabulatedSchedule.step": Call(
        TabulatedSchedule(TABLE, [0.1, 0.5, 0.9]).step,
        {"t": torch.ones(2)},
        {"t": ["now", None]},
        names=False,
    ),
    "schedules.as_time": Call(
        as_time,
        {"t": 0.5},
        {
            "t": ["now", None, True, RAGGED, torch.ones(2) * 1j],
            "device": [3.5, "nowhere", "vulkan", "cuda:99"],
            "name": [],
        },
        names=False,
    ),
    **{
        f"predictions.{kind.__name__}": Call(kind)
        for kind in (Epsilon, Sample, Velocity, Score, Flow)
    },
    "predictions.Preconditioned": Call(Preconditioned, {}, {"sigma_data": POSITIVE}),
    "predictions.as_prediction": Call(
        as_prediction, {"prediction": "epsilon"}, {"prediction": [*NAME, None, "x0", Epsilon]}
    ),
}
