"""Models that are called with patches as tokens."""

from typing import Any

import torch
from torch import nn

from tests.diffusers.oracles.base import (
    FLOW,
    OTHER,
    OTHER_POOLED,
    POOLED,
    TEXT,
    Oracle,
    diffusers,
    nothing,
    randomized,
    unpatched,
)


def flux_model(**config: Any) -> nn.Module:
    torch.manual_seed(0)
    return randomized(
        diffusers.FluxTransformer2DModel(
            **{
                "patch_size": 1,
                "in_channels": 16,
                "num_layers": 1,
                "num_single_layers": 1,
                "attention_head_dim": 8,
                "num_attention_heads": 2,
                "joint_attention_dim": 16,
                "pooled_projection_dim": 12,
                "axes_dims_rope": (2, 2, 4),
            }
            | config
        )
    )


def flux() -> Oracle:
    pipe = diffusers.FluxPipeline(
        transformer=flux_model(),
        scheduler=FLOW(use_dynamic_shifting=True),
        **nothing("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    )
    call = {
        "prompt_embeds": TEXT,
        "pooled_prompt_embeds": POOLED,
        "height": 64,
        "width": 96,
        "output_type": "latent",
    }
    guided = {
        "true_cfg_scale": 3.0,
        "negative_prompt_embeds": OTHER,
        "negative_pooled_prompt_embeds": OTHER_POOLED,
    }
    return Oracle(
        pipe,
        call,
        {"encoder_hidden_states": TEXT, "pooled_projections": POOLED},
        {"encoder_hidden_states": OTHER, "pooled_projections": OTHER_POOLED},
        guided,
        unpack=unpatched(8, 12),
    )


def flux_dev() -> Oracle:
    oracle = flux()
    oracle.pipe.register_modules(transformer=flux_model(guidance_embeds=True))
    oracle.call["guidance_scale"] = 4.5
    oracle.options = {"guidance": 4.5}
    return oracle


FLUX = (flux, flux_dev)
