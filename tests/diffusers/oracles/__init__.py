"""Tiny pipelines of each family, by their names."""

from collections.abc import Callable

from tests.diffusers.oracles.base import Oracle, Step, denoise
from tests.diffusers.oracles.dits import DITS
from tests.diffusers.oracles.flux import FLUX
from tests.diffusers.oracles.unets import UNETS
from tests.diffusers.oracles.video_unets import VIDEO_UNETS
from tests.diffusers.oracles.videos import VIDEOS

__all__ = ["ORACLES", "Oracle", "Step", "denoise"]

ORACLES: dict[str, Callable[[], Oracle]] = {
    make.__name__: make for make in (*UNETS, *VIDEO_UNETS, *DITS, *FLUX, *VIDEOS)
}
