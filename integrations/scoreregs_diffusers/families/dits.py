"""Transformers on tables of alphas and on flows whose rule is one line."""

from typing import Any

import torch
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs_diffusers.families.base import (
    Family,
    ModelInput,
    reversed_fraction,
    root_shift,
    thousandth,
)
from scoreregs_diffusers.families.rotary import picture_positions
from scoreregs_diffusers.layouts import Layout

__all__ = ["DITS"]

_SIZES = "sizes are those of x, 8 pixels a latent, unless the condition holds them"


def _pixart(inputs: ModelInput) -> dict[str, Any]:
    """Returns the sizes that models of 1024 pixels embed, as none for the others, which need that.

    Raises:
        ArgumentError: where a model embeds them and the condition has none.
    """
    given = inputs.arguments.get("added_cond_kwargs")
    if given is None and _embeds_sizes(inputs.config):
        raise ArgumentError(
            "got a condition without added_cond_kwargs for a PixArtTransformer2DModel that embeds "
            "the picture's size, expected {'resolution': (batch, 2), 'aspect_ratio': (batch, 1)}"
        )
    return inputs.where_absent(added_cond_kwargs={"resolution": None, "aspect_ratio": None})


def _embeds_sizes(config: Any) -> bool:
    embeds = config.get("use_additional_conditions")
    return config.get("sample_size") == 128 if embeds is None else bool(embeds)


def _scaled(timestep: Tensor, steps: int, config: Any) -> Tensor:
    return timestep * config.get("timestep_scale", 1.0)


def _sizes(inputs: ModelInput) -> dict[str, Any]:
    """Returns the sizes in pixels of pictures that were neither scaled nor cropped."""
    height, width = (8 * size for size in inputs.x.shape[-2:])
    size = torch.tensor([[height, width]], device=inputs.x.device, dtype=inputs.x.dtype)
    size = size.expand(len(inputs.x), 2)
    return inputs.where_absent(
        original_size=size, target_size=size, crop_coords=torch.zeros_like(size)
    )


def _hunyuan(inputs: ModelInput) -> dict[str, Any]:
    rows, device = len(inputs.x), inputs.x.device
    derived: dict[str, Any] = {"image_rotary_emb": picture_positions(inputs.config, inputs.x)}
    if inputs.config.get("use_style_cond_and_image_meta_size"):
        size = [8 * side for side in inputs.x.shape[-2:]]
        meta = torch.tensor([[1024, 1024, *size, 0, 0]], device=device, dtype=inputs.x.dtype)
        derived["image_meta_size"] = meta.repeat(rows, 1)
        derived["style"] = torch.zeros(rows, device=device, dtype=torch.int64)
    return inputs.where_absent(**derived)


def _hunyuan_channels(config: Any, layout: Layout) -> tuple[int, int]:
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
        name="CogView 3",
        models=("CogView3PlusTransformer2DModel",),
        pipelines=("CogView3PlusPipeline",),
        needs=("encoder_hidden_states",),
        derived=_sizes,
        supplied=("original_size", "target_size", "crop_coords"),
        note=_SIZES,
    ),
    Family(
        name="CogView 4",
        models=("CogView4Transformer2DModel",),
        pipelines=("CogView4Pipeline",),
        needs=("encoder_hidden_states",),
        flow=True,
        unshifted_time=True,
        shift=root_shift,
        derived=_sizes,
        supplied=("original_size", "target_size", "crop_coords"),
        note=f"needs image_tokens=; {_SIZES}; the time is not shifted, as from diffusers 0.42 on",
    ),
    Family(
        name="Lumina 2",
        models=("Lumina2Transformer2DModel",),
        pipelines=("Lumina2Pipeline",),
        needs=("encoder_hidden_states", "encoder_attention_mask"),
        flow=True,
        time=reversed_fraction,
        sign=-1.0,
        guidance="norm",
    ),
    Family(
        name="Hunyuan-DiT",
        models=("HunyuanDiT2DModel",),
        pipelines=("HunyuanDiTPipeline",),
        needs=(
            "encoder_hidden_states",
            "text_embedding_mask",
            "encoder_hidden_states_t5",
            "text_embedding_mask_t5",
        ),
        channels=_hunyuan_channels,
        derived=_hunyuan,
        time_in_own_dtype=True,
        note="sizes are those of x, 8 pixels a latent, unless it holds `image_meta_size`",
    ),
)
