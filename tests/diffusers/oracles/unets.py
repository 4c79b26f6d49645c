"""U-Nets."""

from typing import Any

import torch
from torch import nn

from tests.diffusers.oracles.base import (
    BATCH,
    EMBEDDED,
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
    nothing,
    picture_call,
    randn,
    randomized,
    small_vae,
    text_guidance,
)


def ddpm() -> Oracle:
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
    )
    pipe = diffusers.DDIMPipeline(randomized(unet), diffusers.DDIMScheduler(**TABLE))
    call = {"batch_size": BATCH, "output_type": "np"}
    return Oracle(pipe, call, None, model="unet")


def conditional_unet(**config: Any) -> nn.Module:
    return randomized(
        diffusers.UNet2DConditionModel(
            **{
                "sample_size": 8,
                "in_channels": 4,
                "out_channels": 4,
                "block_out_channels": (8, 8),
                "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
                "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
                "layers_per_block": 1,
                "norm_num_groups": 4,
                "cross_attention_dim": 16,
                "attention_head_dim": 4,
            }
            | config
        )
    )


def stable_diffusion() -> Oracle:
    pipe = diffusers.StableDiffusionPipeline(
        vae=small_vae(),
        unet=conditional_unet(),
        scheduler=diffusers.DDIMScheduler(**TABLE),
        **nothing("text_encoder", "tokenizer", "safety_checker", "feature_extractor"),
        requires_safety_checker=False,
    )
    call = picture_call()
    guided = text_guidance()
    return Oracle(pipe, call, TEXT, OTHER, guided, model="unet")


def sdxl(**config: Any) -> Oracle:
    unet = conditional_unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=12 + 6 * 8,
        **config,
    )
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=small_vae(),
        unet=unet,
        scheduler=diffusers.DDIMScheduler(**TABLE),
        **nothing("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
    )
    # With no text encoder the pipeline cannot tell the width of the pooled prompt.
    pipe._get_add_time_ids = lambda *args, dtype, **kwargs: torch.tensor(
        [[64.0, 64, 0, 0, 64, 64]], dtype=dtype
    )
    call = picture_call(pooled_prompt_embeds=POOLED)
    guided = {
        "guidance_scale": 3.0,
        "negative_prompt_embeds": OTHER,
        "negative_pooled_prompt_embeds": OTHER_POOLED,
    }
    sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]])

    def condition(text, pooled):
        added = {"text_embeds": pooled, "time_ids": sizes}
        return {"encoder_hidden_states": text, "added_cond_kwargs": added}

    return Oracle(
        pipe,
        call,
        condition(TEXT, POOLED),
        condition(OTHER, OTHER_POOLED),
        guided,
        model="unet",
    )


def distilled_sdxl() -> Oracle:
    oracle = sdxl(time_cond_proj_dim=7)
    oracle.call["guidance_scale"] = EMBEDDED
    oracle.null, oracle.options = None, {"guidance": EMBEDDED}
    return oracle


def inpainting() -> Oracle:
    pipe = diffusers.StableDiffusionInpaintPipeline(
        vae=small_vae(),
        unet=conditional_unet(in_channels=9),
        scheduler=diffusers.DDIMScheduler(**TABLE),
        **nothing("text_encoder", "tokenizer", "safety_checker", "feature_extractor"),
        requires_safety_checker=False,
    )
    picture = randn(1, 3, 64, 64).sigmoid()
    masked = randn(1, 4, 8, 8, seed=3)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:40, 8:24] = 1
    call = picture_call(image=picture, mask_image=mask, masked_image_latents=masked)
    small = nn.functional.interpolate(mask, size=(8, 8))
    extra = torch.cat([small, masked], dim=1)
    condition = {"encoder_hidden_states": TEXT, "extra_channels": extra}
    null = {"encoder_hidden_states": OTHER, "extra_channels": extra}
    guided = text_guidance()
    return Oracle(pipe, call, condition, null, guided, model="unet")


def instruct_pix2pix() -> Oracle:
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline(
        vae=small_vae(),
        unet=conditional_unet(in_channels=8),
        scheduler=diffusers.DDIMScheduler(**TABLE),
        **nothing("text_encoder", "tokenizer", "safety_checker", "feature_extractor"),
        requires_safety_checker=False,
    )
    image = randn(1, 4, 8, 8, seed=3)  # four channels are latents already
    call = {
        "prompt_embeds": TEXT,
        "image": image,
        "guidance_scale": 1.0,
        "output_type": "latent",
    }
    return Oracle(
        pipe, call, {"encoder_hidden_states": TEXT, "extra_channels": image}, model="unet"
    )


def dance_diffusion() -> Oracle:
    unet = diffusers.UNet1DModel(
        sample_size=64,
        sample_rate=64,
        in_channels=2,
        out_channels=2,
        extra_in_channels=64,
        block_out_channels=(32, 32),
        down_block_types=("DownBlock1DNoSkip", "DownBlock1D"),
        up_block_types=("UpBlock1D", "UpBlock1DNoSkip"),
    )
    pipe = diffusers.DanceDiffusionPipeline(randomized(unet), diffusers.DDIMScheduler(**TABLE))
    # It turns every scheduler into IPNDM, whose times are others than a diffusion model's.
    pipe.register_modules(scheduler=diffusers.DDIMScheduler(**TABLE))
    return Oracle(pipe, {"batch_size": BATCH}, None, model="unet")


def kandinsky3() -> Oracle:
    unet = diffusers.Kandinsky3UNet(
        time_embedding_dim=8,
        groups=2,
        attention_head_dim=4,
        layers_per_block=3,
        block_out_channels=(8, 8, 8, 8),
        cross_attention_dim=8,
        encoder_hid_dim=16,
    )
    pipe = diffusers.Kandinsky3Pipeline(
        unet=randomized(unet),
        scheduler=diffusers.DDIMScheduler(**TABLE),
        **nothing("tokenizer", "text_encoder", "movq"),
    )
    call = picture_call(attention_mask=MASK)
    guided = {
        "guidance_scale": 3.0,
        "negative_prompt_embeds": OTHER,
        "negative_attention_mask": OTHER_MASK,
    }
    return Oracle(
        pipe,
        call,
        masked_condition(TEXT, MASK),
        masked_condition(OTHER, OTHER_MASK),
        guided,
        model="unet",
    )


UNETS = (
    ddpm,
    stable_diffusion,
    sdxl,
    distilled_sdxl,
    inpainting,
    instruct_pix2pix,
    dance_diffusion,
    kandinsky3,
)
