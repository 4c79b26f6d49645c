"""Score priors from the models, schedulers and pipelines of Hugging Face diffusers."""

from scoreregs_diffusers.latents import LatentCodec
from scoreregs_diffusers.prior import DiffusersPrior
from scoreregs_diffusers.schedulers import NetworkReading, read_scheduler

__all__ = ["DiffusersPrior", "LatentCodec", "NetworkReading", "read_scheduler"]
