"""Priors in closed form, and priors that wrap a network or other priors."""

from scoreregs.priors.clamped import ClampedPrior
from scoreregs.priors.combined import CombinedPrior, Term
from scoreregs.priors.edm import DenoiserPrior, EDMPrior
from scoreregs.priors.empirical import EmpiricalPrior
from scoreregs.priors.gaussian_mixture import GaussianMixturePrior
from scoreregs.priors.guided import GuidedPrior
from scoreregs.priors.matched import MatchedPrior

__all__ = [
    "ClampedPrior",
    "CombinedPrior",
    "DenoiserPrior",
    "EDMPrior",
    "EmpiricalPrior",
    "GaussianMixturePrior",
    "GuidedPrior",
    "MatchedPrior",
    "Term",
]
