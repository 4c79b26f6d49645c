"""Noise schedules, one file each; `base` holds what they share."""

from scoreregs.schedules.base import NoiseLevel, NoiseSchedule, as_time
from scoreregs.schedules.cosine import CosineSchedule
from scoreregs.schedules.edm import EDMSchedule
from scoreregs.schedules.rectified_flow import RectifiedFlowSchedule
from scoreregs.schedules.sub_vp import SubVPSchedule
from scoreregs.schedules.tabulated import TabulatedSchedule
from scoreregs.schedules.ve import VESchedule
from scoreregs.schedules.vp import VPSchedule

__all__ = [
    "CosineSchedule",
    "EDMSchedule",
    "NoiseLevel",
    "NoiseSchedule",
    "RectifiedFlowSchedule",
    "SubVPSchedule",
    "TabulatedSchedule",
    "VESchedule",
    "VPSchedule",
    "as_time",
]
