"""Transformers of videos: Wan, SkyReels, HunyuanVideo, LTX-Video, Mochi, CogVideoX."""

from typing import Any

import torch

from scoreregs_diffusers.families.base import Family, ModelInput
from scoreregs_diffusers.families.rotary import video_positions
from scoreregs_diffusers.layouts import AsItIs, Packed

__all__ = ["VIDEOS"]

_VIDEO = "(batch, channels, frames, height, width)"


def _thousandfold(scale: float, inputs: ModelInput) -> dict[str, Any]:
    rows = torch.full((len(inputs.x),), 1000.0 * scale, device=inputs.x.device)
    return {"guidance": rows.to(inputs.x.dtype)}


def _ltx(inputs: ModelInput) -> dict[str, Any]:
    if inputs.x.ndim == 3:
        return {}
    frames, height, width = inputs.x.shape[2:]
    # Seconds a latent frame, at 25 frames a second, and the pixels of a latent.
    scale = (8 / 25, 32, 32)
    return inputs.where_absent(
        num_frames=frames, height=height, width=width, rope_interpolation_scale=scale
    )


def _cogvideo(inputs: ModelInput) -> dict[str, Any]:
    derived = {}
    if inputs.config.get("use_rotary_positional_embeddings"):
        derived["image_rotary_emb"] = video_positions(inputs.config, inputs.x)
    if inputs.config.get("ofs_embed_dim") is not None:
        derived["ofs"] = inputs.x.new_full((1,), 2.0)
    return inputs.where_absent(**derived)


VIDEOS = (
    Family(
        name="Wan 2.1 and 2.2",
        models=("WanTransformer3DModel",),
        pipelines=("WanPipeline", "WanImageToVideoPipeline"),
        x=_VIDEO,
        layout=AsItIs(5),
        needs=("encoder_hidden_states",),
        flow=True,
        note="both experts of 2.2; the image of image-to-video is `extra_channels`",
    ),
    Family(
        name="SkyReels 2",
        models=("SkyReelsV2Transformer3DModel",),
        pipelines=("SkyReelsV2Pipeline",),
        x=_VIDEO,
        layout=AsItIs(5),
        needs=("encoder_hidden_states",),
        flow=True,
    ),
    Family(
        name="HunyuanVideo",
        models=("HunyuanVideoTransformer3DModel",),
        pipelines=("HunyuanVideoPipeline",),
        x=_VIDEO,
        layout=AsItIs(5),
        needs=("encoder_hidden_states", "encoder_attention_mask", "pooled_projections"),
        flow=True,
        embedded=_thousandfold,
        refuse=lambda config: (
            "which is conditioned on a picture by a rule of its pipeline"
            if config.get("image_condition_type")
            else None
        ),
    ),
    Family(
        name="LTX-Video",
        models=("LTXVideoTransformer3DModel",),
        pipelines=("LTXPipeline",),
        x=_VIDEO,
        layout=Packed(1, 5),
        needs=("encoder_hidden_states", "encoder_attention_mask"),
        flow=True,
        derived=_ltx,
        note="25 frames a second, unless arguments= holds a `rope_interpolation_scale`",
    ),
    Family(
        name="Mochi",
        models=("MochiTransformer3DModel",),
        pipelines=("MochiPipeline",),
        x=_VIDEO,
        layout=AsItIs(5),
        needs=("encoder_hidden_states", "encoder_attention_mask"),
        flow=True,
    ),
    Family(
        name="CogVideoX",
        models=("CogVideoXTransformer3DModel",),
        pipelines=("CogVideoXPipeline",),
        x="(batch, frames, channels, height, width)",
        layout=AsItIs(5),
        channel_axis=2,
        needs=("encoder_hidden_states",),
        derived=_cogvideo,
        note="without `use_dynamic_cfg`; the picture of image-to-video is `extra_channels`",
    ),
)
