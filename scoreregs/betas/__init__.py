"""Temperatures beta that change from call to call."""

from scoreregs.betas.annealed import AnnealedBeta
from scoreregs.betas.base import Beta
from scoreregs.betas.target import TargetBeta

__all__ = ["AnnealedBeta", "Beta", "TargetBeta"]
