"""Whether a prior is plugged in right: its denoising error, and the likely cause of a bad one."""

from scoreregs.checking.check import check_prior
from scoreregs.checking.readings import DataMap, Reading
from scoreregs.checking.report import PriorReport

__all__ = ["DataMap", "PriorReport", "Reading", "check_prior"]
