"""Score regularisation with any diffusion prior."""

from scoreregs.analytic import GaussianMixturePrior
from scoreregs.checking import PriorReport, check_prior
from scoreregs.edm import DenoiserPrior, EDMPrior
from scoreregs.errors import ScoreRegsError
from scoreregs.fitting import fit_prior
from scoreregs.objective import Diagnostics, ObjectiveResult, ScoreRegularizedObjective
from scoreregs.prior import NetworkPrior, ScorePrior
from scoreregs.schedules import (
    CosineSchedule,
    EDMSchedule,
    NoiseLevel,
    NoiseSchedule,
    RectifiedFlowSchedule,
    SubVPSchedule,
    TabulatedSchedule,
    VESchedule,
    VPSchedule,
)

__all__ = [
    "CosineSchedule",
    "DenoiserPrior",
    "Diagnostics",
    "EDMPrior",
    "EDMSchedule",
    "GaussianMixturePrior",
    "NetworkPrior",
    "NoiseLevel",
    "NoiseSchedule",
    "ObjectiveResult",
    "PriorReport",
    "RectifiedFlowSchedule",
    "ScorePrior",
    "ScoreRegsError",
    "ScoreRegularizedObjective",
    "SubVPSchedule",
    "TabulatedSchedule",
    "VESchedule",
    "VPSchedule",
    "check_prior",
    "fit_prior",
]
