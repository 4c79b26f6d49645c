"""Models that are called with patches as tokens: Flux and its kin, Qwen-Image."""

from typing import Any

import torch
from torch import Tensor

from scoreregs_diffusers.families.base import Family, ModelInput, grid_ids, thousandth
from scoreregs_diffusers.layouts import Layout, Packed

__all__ = ["FLUX"]


def _picture_ids(inputs: ModelInput, size: int) -> Tensor | None:
    """Returns the positions of tokens, or None for latents that were packed by somebody else."""
    if inputs.x.ndim == 3:
        return None
    height, width = (side // size for side in inputs.x.shape[-2:])
    return grid_ids(height, width, inputs.x.device)


def _flux_ids(inputs: ModelInput) -> dict[str, Any]:
    text = inputs.arguments["encoder_hidden_states"]
    ids = {"txt_ids": torch.zeros(text.shape[1], 3, device=inputs.x.device)}
    picture = _picture_ids(inputs, 2)
    return ids if picture is None else {**ids, "img_ids": picture}


def _diagonal_ids(inputs: ModelInput) -> dict[str, Any]:
    """Returns Flux's ids with the words along the diagonal."""
    ids = _flux_ids(inputs)
    places = torch.arange(len(ids["txt_ids"]), device=inputs.x.device, dtype=torch.float32)
    return {**ids, "txt_ids": torch.stack([torch.zeros_like(places), places, places], dim=1)}


def _chroma(inputs: ModelInput) -> dict[str, Any]:
    """Returns the ids, and the mask of the words with that of all tokens behind it."""
    mask = inputs.arguments["attention_mask"]
    tokens = torch.ones(len(mask), inputs.packed.shape[1], device=mask.device, dtype=mask.dtype)
    return {**_flux_ids(inputs), "attention_mask": torch.cat([mask, tokens], dim=1)}


def _flux2_ids(inputs: ModelInput) -> dict[str, Any]:
    text = inputs.arguments["encoder_hidden_states"]
    words = torch.arange(text.shape[1], device=inputs.x.device, dtype=torch.float32)
    ids = {"txt_ids": torch.nn.functional.pad(words[:, None], (3, 0))}
    picture = _picture_ids(inputs, 1)
    if picture is not None:
        ids["img_ids"] = torch.nn.functional.pad(picture, (0, 1))
    return {name: rows.expand(len(inputs.x), *rows.shape) for name, rows in ids.items()}


def _qwen(inputs: ModelInput) -> dict[str, Any]:
    if inputs.x.ndim == 3:
        return {}
    height, width = (side // 2 for side in inputs.x.shape[-2:])
    return {"img_shapes": [[(1, height, width)]] * len(inputs.x)}


def _qwen_channels(config: Any, layout: Layout) -> tuple[int, int]:
    return config["in_channels"] // layout.patch_area, config["out_channels"]


def _embedded(scale: float, inputs: ModelInput) -> dict[str, Any]:
    return {"guidance": torch.full((len(inputs.x),), scale, device=inputs.x.device)}


FLUX = (
    Family(
        name="Flux.1",
        models=("FluxTransformer2DModel",),
        pipelines=("FluxPipeline", "FluxControlPipeline", "FluxFillPipeline"),
        needs=("encoder_hidden_states", "pooled_projections"),
        flow=True,
        time=thousandth,
        layout=Packed(2),
        derived=_flux_ids,
        shared=("img_ids", "txt_ids"),
        embedded=_embedded,
        note="dev needs guidance=; the pictures of Fill, Depth and Canny are `extra_channels`",
    ),
    Family(
        name="Flux.2",
        models=("Flux2Transformer2DModel",),
        pipelines=("Flux2Pipeline",),
        needs=("encoder_hidden_states",),
        flow=True,
        shift=None,
        time=thousandth,
        layout=Packed(1),
        derived=_flux2_ids,
        shared=("img_ids", "txt_ids"),
        embedded=_embedded,
        note="x has the patches among its channels, as its VAE's normalised latents; dev needs "
        "guidance=",
    ),
    Family(
        name="Chroma",
        models=("ChromaTransformer2DModel",),
        pipelines=("ChromaPipeline",),
        needs=("encoder_hidden_states", "attention_mask"),
        flow=True,
        time=thousandth,
        layout=Packed(2),
        derived=_chroma,
        shared=("img_ids", "txt_ids"),
        note="`attention_mask` is that of the words",
    ),
    Family(
        name="Ovis-Image",
        models=("OvisImageTransformer2DModel",),
        pipelines=("OvisImagePipeline",),
        needs=("encoder_hidden_states",),
        flow=True,
        time=thousandth,
        layout=Packed(2),
        derived=_diagonal_ids,
        shared=("img_ids", "txt_ids"),
    ),
    Family(
        name="Qwen-Image",
        models=("QwenImageTransformer2DModel",),
        pipelines=("QwenImagePipeline",),
        needs=("encoder_hidden_states", "encoder_hidden_states_mask"),
        flow=True,
        time=thousandth,
        layout=Packed(2),
        channels=_qwen_channels,
        derived=_qwen,
        shared=("img_shapes",),
        embedded=_embedded,
        guidance="norm",
        refuse=lambda config: (
            "which edits pictures: its pipeline hands it their tokens behind those of x"
            if config.get("zero_cond_t") or config.get("use_additional_t_cond")
            else None
        ),
    ),
)
