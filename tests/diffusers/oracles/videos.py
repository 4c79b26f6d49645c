"""Transformers of videos."""

from typing import Any

import torch
from torch import nn

from tests.diffusers.oracles.base import (
    FLOW,
    OTHER,
    TEXT,
    Oracle,
    diffusers,
    nothing,
)


def wan_model(seed: int = 0, **config: Any) -> nn.Module:
    torch.manual_seed(seed)
    model = diffusers.WanTransformer3DModel(
        **{
            "patch_size": (1, 2, 2),
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "in_channels": 4,
            "out_channels": 4,
            "text_dim": 16,
            "freq_dim": 16,
            "ffn_dim": 32,
            "num_layers": 1,
            "rope_max_seq_len": 32,
        }
        | config
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def wan(**more: Any) -> Oracle:
    pipe = diffusers.WanPipeline(
        transformer=wan_model(),
        scheduler=FLOW(shift=3.0),
        **nothing("vae", "text_encoder", "tokenizer"),
        **more,
    )
    call = {
        "prompt_embeds": TEXT,
        "height": 64,
        "width": 64,
        "num_frames": 5,
        "guidance_scale": 1.0,
        "output_type": "latent",
    }
    guided = {"guidance_scale": 3.0, "negative_prompt_embeds": OTHER}
    return Oracle(pipe, call, TEXT, OTHER, guided)


def wan_experts() -> Oracle:
    oracle = wan(transformer_2=wan_model(1), boundary_ratio=0.8)
    oracle.options = {"low_noise_model": oracle.pipe.transformer_2, "boundary_ratio": 0.8}
    return oracle


VIDEOS = (wan, wan_experts)
