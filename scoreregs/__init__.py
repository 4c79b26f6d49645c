"""Score regularisation with any diffusion prior."""

from scoreregs import _torch  # noqa: F401
from scoreregs._version import __version__ as __version__
from scoreregs.checking import PriorReport, check_prior
from scoreregs.errors import ScoreRegsError
from scoreregs.fitting import fit_prior
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.prior import NetworkPrior, ScorePrior
from scoreregs.priors import (
    ClampedPrior,
    CombinedPrior,
    DenoiserPrior,
    EDMPrior,
    EmpiricalPrior,
    GaussianMixturePrior,
    GuidedPrior,
    MatchedPrior,
    Term,
)
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
