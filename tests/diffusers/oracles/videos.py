"""Transformers of videos."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from tests.diffusers.oracles.base import (
    EMBEDDED,
    FLOW,
    MASK,
    OTHER,
    OTHER_MASK,
    OTHER_POOLED,
    POOLED,
    TEXT,
    Oracle,
    diffusers,
    masked_condition,
    masked_guidance,
    nothing,
    picture_call,
    randn,
    randomized,
    text_guidance,
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
    call = picture_call(num_frames=5)
    guided = text_guidance()
    return Oracle(pipe, call, TEXT, OTHER, guided)


def wan_experts() -> Oracle:
    oracle = wan(transformer_2=wan_model(1), boundary_ratio=0.8)
    oracle.options = {"low_noise_model": oracle.pipe.transformer_2, "boundary_ratio": 0.8}
    return oracle


def video_call() -> dict[str, Any]:
    return picture_call(num_frames=5)


def wan_image() -> Oracle:
    pipe = diffusers.WanImageToVideoPipeline(
        transformer=wan_model(in_channels=12),
        scheduler=FLOW(shift=3.0),
        **nothing("vae", "text_encoder", "tokenizer", "image_encoder", "image_processor"),
    )
    condition, latents = randn(1, 8, 2, 8, 8, seed=3), randn(1, 4, 2, 8, 8, seed=4)
    # What its autoencoder makes of the picture: a mask and latents.
    pipe.prepare_latents = lambda *args, **kwargs: (latents, condition)
    pipe.vae = SimpleNamespace(config=SimpleNamespace(z_dim=4))
    call = video_call() | {"image": torch.zeros(1, 3, 64, 64)}
    guided = text_guidance()
    return Oracle(
        pipe,
        call,
        {"encoder_hidden_states": TEXT, "extra_channels": condition},
        {"encoder_hidden_states": OTHER, "extra_channels": condition},
        guided,
    )


def skyreels() -> Oracle:
    model = diffusers.SkyReelsV2Transformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=1,
        rope_max_seq_len=32,
    )
    pipe = diffusers.SkyReelsV2Pipeline(
        transformer=randomized(model),
        scheduler=FLOW(shift=8.0),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    guided = text_guidance()
    return Oracle(pipe, video_call(), TEXT, OTHER, guided)


def hunyuan_video() -> Oracle:
    model = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=16,
        pooled_projection_dim=12,
        rope_axes_dim=(2, 4, 4),
    )
    pipe = diffusers.HunyuanVideoPipeline(
        transformer=randomized(model),
        scheduler=FLOW(shift=7.0),
        **nothing("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    )
    call = video_call() | {
        "pooled_prompt_embeds": POOLED,
        "prompt_attention_mask": MASK,
        "guidance_scale": EMBEDDED,
    }
    guided = {
        "true_cfg_scale": 3.0,
        "negative_prompt_embeds": OTHER,
        "negative_pooled_prompt_embeds": OTHER_POOLED,
        "negative_prompt_attention_mask": OTHER_MASK,
    }

    def condition(text, mask, pooled):
        return masked_condition(text, mask) | {"pooled_projections": pooled}

    return Oracle(
        pipe,
        call,
        condition(TEXT, MASK, POOLED),
        condition(OTHER, OTHER_MASK, OTHER_POOLED),
        guided,
        options={"guidance": EMBEDDED},
    )


def ltx() -> Oracle:
    model = diffusers.LTXVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=1,
        caption_channels=16,
    )
    pipe = diffusers.LTXPipeline(
        transformer=randomized(model),
        scheduler=FLOW(use_dynamic_shifting=True),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    call = video_call() | {"prompt_attention_mask": MASK, "width": 96, "num_frames": 9}
    oracle = Oracle(
        pipe,
        call,
        masked_condition(TEXT, MASK),
        masked_condition(OTHER, OTHER_MASK),
        masked_guidance(),
    )
    oracle.unpack = lambda latents: latents.transpose(1, 2).reshape(1, 4, 2, 2, 3)
    return oracle


def mochi() -> Oracle:
    model = diffusers.MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        text_embed_dim=16,
        time_embed_dim=4,
        max_sequence_length=16,
    )
    pipe = diffusers.MochiPipeline(
        transformer=randomized(model),
        scheduler=FLOW(invert_sigmas=True),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    call = video_call() | {"prompt_attention_mask": MASK.bool()}
    guided = masked_guidance() | {"negative_prompt_attention_mask": OTHER_MASK.bool()}
    return Oracle(
        pipe,
        call,
        masked_condition(TEXT, MASK.bool()),
        masked_condition(OTHER, OTHER_MASK.bool()),
        guided,
    )


def cogvideo(**config: Any) -> Oracle:
    model = diffusers.CogVideoXTransformer3DModel(
        **{
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "in_channels": 4,
            "out_channels": 4,
            "time_embed_dim": 4,
            "text_embed_dim": 16,
            "num_layers": 1,
            "sample_width": 8,
            "sample_height": 8,
            "sample_frames": 5,
            "max_text_seq_length": 5,
        }
        | config
    )
    scheduler = diffusers.CogVideoXDDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=3.0,
        clip_sample=False,
    )
    pipe = diffusers.CogVideoXPipeline(
        transformer=randomized(model),
        scheduler=scheduler,
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    guided = text_guidance()
    return Oracle(pipe, video_call(), TEXT, OTHER, guided)


def cogvideo_rotary() -> Oracle:
    return cogvideo(use_rotary_positional_embeddings=True)


def cogvideo_15() -> Oracle:
    return cogvideo(use_rotary_positional_embeddings=True, patch_size_t=2, patch_bias=False)


VIDEOS = (
    wan,
    wan_experts,
    wan_image,
    skyreels,
    hunyuan_video,
    ltx,
    mochi,
    cogvideo,
    cogvideo_rotary,
    cogvideo_15,
)
