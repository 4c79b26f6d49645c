"""Transformers of pictures that are called with x as it is."""

from typing import Any

import torch
from torch import nn

from tests.diffusers.oracles.base import (
    FLOW,
    MASK,
    OTHER,
    OTHER_MASK,
    OTHER_POOLED,
    POOLED,
    TABLE,
    TEXT,
    Oracle,
    diffusers,
    masked_condition,
    masked_conditions,
    masked_guidance,
    nothing,
    picture_call,
    randomized,
    small_vae,
    text_guidance,
)


def dit() -> Oracle:
    model = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_zero",
    )
    pipe = diffusers.DiTPipeline(randomized(model), small_vae(), diffusers.DDIMScheduler(**TABLE))
    call = {"class_labels": [3], "guidance_scale": 1.0, "output_type": "np"}
    oracle = Oracle(pipe, call, torch.tensor([3]), options={"learned_variance": "drop"})
    oracle.null = torch.tensor([1000])
    oracle.guided = {"guidance_scale": 3.0}
    # The pipeline carries a batch of both halves.
    oracle.unpack = lambda latents: latents[:1]
    return oracle


def pixart_model(**config: Any) -> nn.Module:
    return randomized(
        diffusers.PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=4,
            in_channels=4,
            out_channels=8,
            num_layers=1,
            cross_attention_dim=8,
            caption_channels=16,
            patch_size=2,
            **config,
        )
    )


def pixart_call() -> dict[str, Any]:
    return picture_call(
        prompt_attention_mask=MASK, negative_prompt=None, use_resolution_binning=False
    )


def pixart_alpha() -> Oracle:
    return pixart(diffusers.PixArtAlphaPipeline, sample_size=8)


def pixart_sigma() -> Oracle:
    return pixart(diffusers.PixArtSigmaPipeline, sample_size=8, use_additional_conditions=False)


def pixart(kind: Any, **config: Any) -> Oracle:
    pipe = kind(
        vae=small_vae(),
        transformer=pixart_model(**config),
        scheduler=diffusers.DDIMScheduler(**TABLE),
        **nothing("text_encoder", "tokenizer"),
    )
    guided = masked_guidance()
    return Oracle(
        pipe,
        pixart_call(),
        masked_condition(TEXT, MASK),
        masked_condition(OTHER, OTHER_MASK),
        guided,
        options={"learned_variance": "drop"},
    )


def sd3() -> Oracle:
    model = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=8,
        pooled_projection_dim=12,
        out_channels=4,
    )
    pipe = diffusers.StableDiffusion3Pipeline(
        transformer=randomized(model),
        scheduler=FLOW(shift=3.0),
        **nothing("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
        **nothing("text_encoder_3", "tokenizer_3"),
    )
    call = picture_call(pooled_prompt_embeds=POOLED)
    guided = {
        "guidance_scale": 3.0,
        "negative_prompt_embeds": OTHER,
        "negative_pooled_prompt_embeds": OTHER_POOLED,
    }
    return Oracle(
        pipe,
        call,
        {"encoder_hidden_states": TEXT, "pooled_projections": POOLED},
        {"encoder_hidden_states": OTHER, "pooled_projections": OTHER_POOLED},
        guided,
    )


def sana() -> Oracle:
    model = diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=4,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=16,
        sample_size=2,
        timestep_scale=0.5,
    )
    pipe = diffusers.SanaPipeline(
        transformer=randomized(model),
        scheduler=FLOW(shift=3.0),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    return Oracle(pipe, pixart_call(), *masked_conditions(), masked_guidance())


def aura_flow() -> Oracle:
    model = diffusers.AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=8,
        out_channels=4,
        pos_embed_max_size=64,
    )
    pipe = diffusers.AuraFlowPipeline(
        transformer=randomized(model),
        scheduler=FLOW(shift=1.73),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    call = picture_call() | {"prompt_attention_mask": MASK}
    return Oracle(pipe, call, TEXT, OTHER, masked_guidance())


def cogview(**config: Any) -> dict[str, Any]:
    return {
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "attention_head_dim": 4,
        "num_attention_heads": 2,
        "text_embed_dim": 16,
        "time_embed_dim": 8,
        "condition_dim": 4,
        "pos_embed_max_size": 8,
        "sample_size": 8,
    } | config


def cogview3() -> Oracle:
    scheduler = diffusers.CogVideoXDDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, clip_sample=False
    )
    pipe = diffusers.CogView3PlusPipeline(
        transformer=randomized(diffusers.CogView3PlusTransformer2DModel(**cogview())),
        scheduler=scheduler,
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    # Without a negative prompt its null is zero, whatever embeddings are given.
    return Oracle(pipe, picture_call(), TEXT, torch.zeros_like(TEXT), {"guidance_scale": 3.0})


def cogview4() -> Oracle:
    model = diffusers.CogView4Transformer2DModel(**cogview(rope_axes_dim=(8, 8)))
    pipe = diffusers.CogView4Pipeline(
        transformer=randomized(model),
        scheduler=FLOW(
            use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"
        ),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    guided = text_guidance()
    return Oracle(pipe, picture_call(), TEXT, OTHER, guided, options={"image_tokens": 16})


def lumina2() -> Oracle:
    model = diffusers.Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=2,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(32, 32, 32),
        cap_feat_dim=16,
    )
    pipe = diffusers.Lumina2Pipeline(
        transformer=randomized(model),
        scheduler=FLOW(shift=6.0),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    call = picture_call() | {"prompt_attention_mask": MASK}
    return Oracle(pipe, call, *masked_conditions(), masked_guidance() | {"cfg_trunc_ratio": 1.0})


def hunyuan_dit() -> Oracle:
    model = diffusers.HunyuanDiT2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        patch_size=2,
        sample_size=8,
        hidden_size=16,
        num_layers=2,
        cross_attention_dim=16,
        cross_attention_dim_t5=16,
        pooled_projection_dim=16,
        text_len=5,
        text_len_t5=5,
    )
    pipe = diffusers.HunyuanDiTPipeline(
        transformer=randomized(model),
        scheduler=diffusers.DDIMScheduler(prediction_type="v_prediction", **TABLE),
        **nothing("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
        **nothing("safety_checker", "feature_extractor"),
        requires_safety_checker=False,
    )
    call = picture_call() | {
        "prompt_attention_mask": MASK,
        "prompt_embeds_2": OTHER,
        "prompt_attention_mask_2": OTHER_MASK,
        "use_resolution_binning": False,
    }
    guided = masked_guidance() | {
        "negative_prompt_embeds_2": TEXT,
        "negative_prompt_attention_mask_2": MASK,
    }

    def condition(text, mask, text_t5, mask_t5):
        return {
            "encoder_hidden_states": text,
            "text_embedding_mask": mask,
            "encoder_hidden_states_t5": text_t5,
            "text_embedding_mask_t5": mask_t5,
        }

    return Oracle(
        pipe,
        call,
        condition(TEXT, MASK, OTHER, OTHER_MASK),
        condition(OTHER, OTHER_MASK, TEXT, MASK),
        guided,
        options={"learned_variance": "drop"},
    )


DITS = (
    dit,
    pixart_alpha,
    pixart_sigma,
    sd3,
    sana,
    aura_flow,
    cogview3,
    cogview4,
    lumina2,
    hunyuan_dit,
)
