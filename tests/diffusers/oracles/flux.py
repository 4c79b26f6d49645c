"""Models that are called with patches as tokens."""

from typing import Any

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
    nothing,
    picture_call,
    randn,
    randomized,
    small_vae,
    unpatched,
)


def flux_model(**config: Any) -> nn.Module:
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
    oracle.call["guidance_scale"] = EMBEDDED
    oracle.options = {"guidance": EMBEDDED}
    return oracle


def flux_control() -> Oracle:
    pipe = diffusers.FluxControlPipeline(
        transformer=flux_model(in_channels=32, out_channels=16, guidance_embeds=True),
        scheduler=FLOW(use_dynamic_shifting=True),
        **nothing("vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
    )
    control = randn(1, 4, 8, 12, seed=3)
    # What its autoencoder makes of the picture, packed by the pipeline.
    pipe.vae = small_vae()
    pipe.prepare_image = lambda **kwargs: pipe._pack_latents(control, 1, 4, 8, 12)
    call = picture_call(
        pooled_prompt_embeds=POOLED, control_image=control, width=96, guidance_scale=EMBEDDED
    )
    condition = {
        "encoder_hidden_states": TEXT,
        "pooled_projections": POOLED,
        "extra_channels": control,
    }
    return Oracle(pipe, call, condition, options={"guidance": EMBEDDED}, unpack=unpatched(8, 12))


def flux2() -> Oracle:
    model = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        timestep_guidance_channels=8,
        axes_dims_rope=(4, 4, 4, 4),
    )
    pipe = diffusers.Flux2Pipeline(
        transformer=randomized(model),
        scheduler=FLOW(use_dynamic_shifting=True),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    call = picture_call(width=96, guidance_scale=EMBEDDED)
    return Oracle(pipe, call, TEXT, options={"guidance": EMBEDDED}, unpack=unpatched(4, 6, 1))


def chroma() -> Oracle:
    model = diffusers.ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(2, 2, 4),
        approximator_num_channels=8,
        approximator_hidden_dim=8,
        approximator_layers=1,
    )
    pipe = diffusers.ChromaPipeline(
        transformer=randomized(model),
        scheduler=FLOW(shift=1.0, use_dynamic_shifting=True),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    call = picture_call(
        prompt_attention_mask=MASK.float(),
        negative_prompt_embeds=OTHER,
        negative_prompt_attention_mask=OTHER_MASK.float(),
        width=96,
    )

    def condition(text, mask):
        return {"encoder_hidden_states": text, "attention_mask": mask.float()}

    return Oracle(
        pipe,
        call,
        condition(TEXT, MASK),
        condition(OTHER, OTHER_MASK),
        {"guidance_scale": 3.0},
        unpack=unpatched(8, 12),
    )


def ovis() -> Oracle:
    model = diffusers.OvisImageTransformer2DModel(
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(2, 2, 4),
    )
    pipe = diffusers.OvisImagePipeline(
        transformer=randomized(model),
        scheduler=FLOW(use_dynamic_shifting=True),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    call = picture_call(width=96)
    guided = {
        "guidance_scale": 3.0,
        "negative_prompt": None,
        "negative_prompt_embeds": OTHER,
    }
    return Oracle(pipe, call, TEXT, OTHER, guided, unpack=unpatched(8, 12))


def qwen() -> Oracle:
    model = diffusers.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
    )
    pipe = diffusers.QwenImagePipeline(
        transformer=randomized(model),
        scheduler=FLOW(use_dynamic_shifting=True),
        **nothing("vae", "text_encoder", "tokenizer"),
    )
    call = {
        "prompt_embeds": TEXT,
        "prompt_embeds_mask": MASK,
        "height": 64,
        "width": 96,
        "true_cfg_scale": 1.0,
        "output_type": "latent",
    }
    guided = {
        "true_cfg_scale": 3.0,
        "negative_prompt_embeds": OTHER,
        "negative_prompt_embeds_mask": OTHER_MASK,
    }

    def condition(text, mask):
        return {"encoder_hidden_states": text, "encoder_hidden_states_mask": mask}

    return Oracle(
        pipe,
        call,
        condition(TEXT, MASK),
        condition(OTHER, OTHER_MASK),
        guided,
        unpack=unpatched(8, 12),
    )


FLUX = (flux, flux_dev, flux_control, flux2, chroma, ovis, qwen)
