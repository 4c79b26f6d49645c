"""U-Nets of videos."""

import torch

from tests.diffusers.oracles.base import (
    OTHER,
    TABLE,
    TEXT,
    Oracle,
    diffusers,
    nothing,
    picture_call,
    randn,
    randomized,
    small_vae,
    text_guidance,
)

FRAMES = 3


def text_to_video() -> Oracle:
    unet = diffusers.UNet3DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
    )
    pipe = diffusers.TextToVideoSDPipeline(
        vae=small_vae(),
        unet=randomized(unet),
        scheduler=diffusers.DDIMScheduler(**TABLE),
        **nothing("text_encoder", "tokenizer"),
    )
    oracle = Oracle(pipe, video_call(), TEXT, OTHER, text_guidance(), model="unet")
    # Its scheduler sees frames as a batch.
    oracle.unpack = lambda latents: latents.transpose(0, 1).unsqueeze(0)
    return oracle


def video_call() -> dict[str, object]:
    return picture_call(num_frames=FRAMES)


def animate_diff() -> Oracle:
    unet = diffusers.UNetMotionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        num_attention_heads=2,
        motion_num_attention_heads=2,
    )
    pipe = diffusers.AnimateDiffPipeline(
        vae=small_vae(),
        unet=randomized(unet),
        motion_adapter=None,
        scheduler=diffusers.DDIMScheduler(**TABLE),
        **nothing("text_encoder", "tokenizer"),
    )
    return Oracle(pipe, video_call(), TEXT, OTHER, text_guidance(), model="unet")


def stable_video() -> Oracle:
    unet = diffusers.UNetSpatioTemporalConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=1,
        cross_attention_dim=16,
        num_attention_heads=2,
    )
    scheduler = diffusers.EulerDiscreteScheduler(
        prediction_type="v_prediction",
        timestep_type="continuous",
        timestep_spacing="leading",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
    )
    pipe = diffusers.StableVideoDiffusionPipeline(
        vae=small_vae(),
        unet=randomized(unet, 0.05),
        scheduler=scheduler,
        **nothing("image_encoder", "feature_extractor"),
    )
    embedding, latents = randn(1, 1, 16), randn(1, 4, 8, 8, seed=3)
    # What the encoders of pictures return; they are not what is compared.
    pipe._encode_image = lambda *args, **kwargs: embedding
    pipe._encode_vae_image = lambda *args, **kwargs: latents
    call = {
        "image": torch.zeros(1, 3, 64, 64),
        "height": 64,
        "width": 64,
        "num_frames": FRAMES,
        "max_guidance_scale": 1.0,
        "fps": 7,
        "motion_bucket_id": 127,
        "noise_aug_strength": 0.02,
        "output_type": "latent",
    }
    condition = {
        "encoder_hidden_states": embedding,
        "added_time_ids": torch.tensor([[6.0, 127.0, 0.02]]),
        "extra_channels": latents.unsqueeze(1).expand(1, FRAMES, 4, 8, 8),
    }
    return Oracle(pipe, call, condition, model="unet")


VIDEO_UNETS = (text_to_video, animate_diff, stable_video)
