"""Transformers on tables of alphas and on flows whose rule is one line."""

from typing import Any

import torch
from torch import Tensor

from scoreregs_diffusers.families.base import Family, ModelInput, thousandth
from scoreregs_diffusers.layouts import Layout

__all__ = ["DITS"]

_VIDEO = "(batch, channels, frames, height, width)"


def _pixart(inputs: ModelInput) -> dict[str, Any]:
    """Returns the sizes that models of 1024 pixels embed: none, as models of another size have."""
    return {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}


def _scaled(timestep: Tensor, steps: int, config: Any) -> Tensor:
    return timestep * config.get("timestep_scale", 1.0)


def _sizes(inputs: ModelInput) -> dict[str, Any]:
    """Returns the sizes in pixels of pictures that were neither scaled nor cropped."""
    height, width = (8 * size for size in inputs.x.shape[-2:])
    size = torch.tensor([[height, width]], device=inputs.x.device, dtype=inputs.x.dtype)
    size = size.expand(len(inputs.x), 2)
    return {"original_size": size, "target_size": size, "crop_coords": torch.zeros_like(size)}


def _doubled(config: Any, layout: Layout) -> tuple[int, int]:
    return config["in_channels"], config["in_channels"] * (2 if config["learn_sigma"] else 1)


DITS = (
    Family(
        name="DiT",
        models=("DiTTransformer2DModel",),
        pipelines=("DiTPipeline",),
        needs=("class_labels",),
        lone=("class_labels",),
        note="the null class is 1000",
    ),
    Family(
        name="PixArt",
        models=("PixArtTransformer2DModel",),
        pipelines=("PixArtAlphaPipeline", "PixArtSigmaPipeline"),
        needs=("encoder_hidden_states",),
        derived=_pixart,
        note="with `encoder_attention_mask`",
    ),
    Family(
        name="Sana",
        models=("SanaTransformer2DModel",),
        pipelines=("SanaPipeline",),
        needs=("encoder_hidden_states",),
        flow=True,
        time=_scaled,
        note="Sana Sprint is a consistency model and refused",
        refuse=lambda config: (
            "Sana Sprint, a consistency model: its output is a sample, not a posterior mean, so "
            "there is no score in it"
            if config.get("guidance_embeds")
            else None
        ),
    ),
    Family(
        name="Stable Diffusion 3",
        models=("SD3Transformer2DModel",),
        pipelines=("StableDiffusion3Pipeline",),
        needs=("encoder_hidden_states", "pooled_projections"),
        flow=True,
    ),
    Family(
        name="AuraFlow",
        models=("AuraFlowTransformer2DModel",),
        pipelines=("AuraFlowPipeline",),
        needs=("encoder_hidden_states",),
        flow=True,
        time=thousandth,
    ),
    Family(
        name="CogView",
        models=("CogView3PlusTransformer2DModel", "CogView4Transformer2DModel"),
        pipelines=("CogView3PlusPipeline", "CogView4Pipeline"),
        needs=("encoder_hidden_states",),
        derived=_sizes,
        note="sizes are those of x, 8 pixels a latent, unless the condition holds them",
    ),
)
