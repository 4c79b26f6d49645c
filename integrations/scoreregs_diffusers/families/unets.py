"""U-Nets: DDPM, Stable Diffusion 1, 2 and XL, DeepFloyd IF, AnimateDiff, Stable Video Diffusion."""

from typing import Any

import torch

from scoreregs_diffusers.families.base import Family, ModelInput
from scoreregs_diffusers.layouts import AsItIs

__all__ = ["UNETS"]


def _frequencies(scale: float, inputs: ModelInput) -> dict[str, Any]:
    """Returns the embedding of a guidance scale that latent consistency and SDXL pipelines use."""
    half = inputs.config["time_cond_proj_dim"] // 2
    exponent = torch.arange(half, dtype=torch.float32) / (half - 1)
    angles = 1000 * (scale - 1) * torch.exp(-torch.log(torch.tensor(10000.0)) * exponent)
    row = torch.cat([angles.sin(), angles.cos()])
    row = torch.nn.functional.pad(row, (0, inputs.config["time_cond_proj_dim"] % 2))
    return {"timestep_cond": row.to(inputs.x).expand(len(inputs.x), -1)}


def _refuse_refiner(config: Any) -> str | None:
    text = config.get("cross_attention_dim")
    embedded = config.get("projection_class_embeddings_input_dim")
    if config.get("addition_embed_type") != "text_time" or not isinstance(text, int):
        return None
    # Five numbers beside the pooled text (two sizes and an aesthetic score) and one text encoder.
    if embedded != text + 5 * config.get("addition_time_embed_dim"):
        return None
    return (
        "a refiner, which knows the last fifth of the noise only: give it as low_noise_model= "
        "beside its base model, with boundary_ratio=0.2"
    )


def _every_frame(inputs: ModelInput) -> dict[str, Any]:
    text = inputs.arguments["encoder_hidden_states"]
    return {"encoder_hidden_states": text.repeat_interleave(inputs.x.shape[2], dim=0)}


UNETS = (
    Family(
        name="DDPM",
        models=("UNet2DModel",),
        pipelines=("DDIMPipeline",),
        note="class labels as the condition, where it has them",
    ),
    Family(
        name="Dance Diffusion",
        models=("UNet1DModel",),
        pipelines=("DanceDiffusionPipeline",),
        x="(batch, channels, length)",
        layout=AsItIs(3),
    ),
    Family(
        name="Stable Diffusion 1, 2 and XL, InstructPix2Pix, DeepFloyd IF",
        models=("UNet2DConditionModel",),
        pipelines=(
            "StableDiffusionPipeline",
            "StableDiffusionXLPipeline",
            "StableDiffusionInpaintPipeline",
            "StableDiffusionInstructPix2PixPipeline",
        ),
        needs=("encoder_hidden_states",),
        note="XL also needs `added_cond_kwargs`; its refiner beside its base only",
        embedded=_frequencies,
        refuse_alone=_refuse_refiner,
    ),
    Family(
        name="Kandinsky 3",
        models=("Kandinsky3UNet",),
        pipelines=("Kandinsky3Pipeline",),
        needs=("encoder_hidden_states", "encoder_attention_mask"),
        guidance="one more",
    ),
    Family(
        name="Text-to-video",
        models=("UNet3DConditionModel",),
        pipelines=("TextToVideoSDPipeline",),
        x="(batch, channels, frames, height, width)",
        layout=AsItIs(5),
        needs=("encoder_hidden_states",),
    ),
    Family(
        name="AnimateDiff",
        models=("UNetMotionModel",),
        pipelines=("AnimateDiffPipeline",),
        derived=_every_frame,
        x="(batch, channels, frames, height, width)",
        layout=AsItIs(5),
        needs=("encoder_hidden_states",),
    ),
    Family(
        name="Stable Video Diffusion",
        models=("UNetSpatioTemporalConditionModel",),
        pipelines=("StableVideoDiffusionPipeline",),
        x="(batch, frames, channels, height, width)",
        layout=AsItIs(5),
        channel_axis=2,
        needs=("encoder_hidden_states", "added_time_ids"),
        guidance="none",
        note="its guidance differs by frame and is not offered",
    ),
)
