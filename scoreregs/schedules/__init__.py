"""Noise schedules, one file each; `base` holds what they share."""

from scoreregs.schedules.base import NoiseLevel, NoiseSchedule, as_time
from scoreregs.schedules.vp import VPSchedule

__all__ = ["NoiseLevel", "NoiseSchedule", "VPSchedule", "as_time"]
