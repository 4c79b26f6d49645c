"""Score regularisation with any diffusion prior."""

from scoreregs.analytic import GaussianMixturePrior
from scoreregs.checking import PriorReport, check_prior
from scoreregs.clamping import ClampedPrior
from scoreregs.combination import CombinedPrior, Term
from scoreregs.edm import DenoiserPrior, EDMPrior
from scoreregs.empirical import EmpiricalPrior
from scoreregs.errors import ScoreRegsError
from scoreregs.fitting import fit_prior
from scoreregs.guidance import GuidedPrior
from scoreregs.matching import MatchedPrior
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.prior import NetworkPrior, ScorePrior
from scoreregs.results import Diagnostics, ObjectiveResult
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
    "ClampedPrior",
    "CombinedPrior",
    "CosineSchedule",
    "DenoiserPrior",
    "Diagnostics",
    "EDMPrior",
    "EDMSchedule",
    "EmpiricalPrior",
    "GaussianMixturePrior",
    "GuidedPrior",
    "MatchedPrior",
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
    "Term",
    "VESchedule",
    "VPSchedule",
    "check_prior",
    "fit_prior",
]
