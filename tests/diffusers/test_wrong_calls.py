"""Calls of the priors and codecs of diffusers that do not fit: always an error of the library."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scoreregs.errors import ArgumentError, ScoreRegsError
from scoreregs_diffusers import DiffusersPrior, LatentCodec, read_scheduler
from tests.diffusers import test_models as models

diffusers = pytest.importorskip("diffusers", reason="needs the extra diffusers")

X = torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)
LATENTS = torch.linspace(-1, 1, 512).reshape(2, 4, 8, 8)
TEXT = torch.ones(2, 3, 6)


def unet(**config) -> Any:
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        **{
            "sample_size": 8,
            "in_channels": 1,
            "out_channels": 1,
            "block_out_channels": (8,),
            "down_block_types": ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "add_attention": False,
        }
        | config
    ).eval()


def text_unet(**config) -> Any:
    """A model that attends to words."""
    attending = {
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "attention_head_dim": 4,
    }
    return models.text_unet(**attending | config)


def sdxl() -> Any:
    return text_unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=2,
        projection_class_embeddings_input_dim=5 + 12,
    )


def prior_of(model: nn.Module, **options) -> DiffusersPrior:
    return DiffusersPrior(model, diffusers.DDPMScheduler(), **options)


OPTIONS = {
    "learned_variance": [True, "cut", None, 3],
    "interpolation": ["linear", None, 3],
    "autocast": ["bf16", True, 16, torch.float64, torch.int8, torch.float32],
    "guidance": ["3.5", float("nan"), True, [3.5]],
    "arguments": [["class_labels"], "class_labels", 3, {"timestep": 3}],
    "image_tokens": ["256", 2.5, 0, -1, True],
    "boundary_ratio": ["0.9", float("nan"), 900, 0, -0.5, [0.9]],
    "low_noise_model": [3, "refiner", nn.Identity],
    "scheduler": [None, "ddpm", 3, {}],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_another_kind_is_refused_when_the_prior_is_made(name):
    model, scheduler = unet(), diffusers.DDPMScheduler()
    right = {"scheduler": scheduler}
    if name == "guidance":
        model = text_unet(time_cond_proj_dim=8)
    if name == "boundary_ratio":
        right["low_noise_model"] = unet()
    for wrong in OPTIONS[name]:
        with pytest.raises(ArgumentError, match="expected"):
            DiffusersPrior(model, **right | {name: wrong})


@pytest.mark.parametrize("kind", [DiffusersPrior, LatentCodec])
@pytest.mark.parametrize("options", [{"torch_dtype": "float16"}, {"variant": 16}, {"path": 3}])
def test_an_option_of_another_kind_is_refused_when_a_pipeline_is_read(tmp_path, kind, options):
    parts = {"unet": ["diffusers", "UNet2DModel"], "vae": ["diffusers", "AutoencoderKL"]}
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "P", **parts}))
    with pytest.raises(ArgumentError, match=next(iter(options))):
        kind.from_pretrained(**{"path": tmp_path} | options)


CALLS: dict[str, tuple[Any, Any]] = {
    "no label": (lambda: unet(num_class_embeds=10), None),
    "a label of another type": (lambda: unet(num_class_embeds=10), torch.rand(2)),
    "a label beyond the table": (lambda: unet(num_class_embeds=10), torch.tensor([3, 99])),
    "a label that is not taken": (unet, torch.tensor([3, 4])),
    "no sizes": (sdxl, TEXT),
    "no size": (
        sdxl,
        {"encoder_hidden_states": TEXT, "added_cond_kwargs": {"text_embeds": torch.ones(2, 5)}},
    ),
    "sizes of a refiner": (
        sdxl,
        {
            "encoder_hidden_states": TEXT,
            "added_cond_kwargs": {"text_embeds": torch.ones(2, 5), "time_ids": torch.ones(2, 5)},
        },
    ),
    "words of another width": (text_unet, torch.ones(2, 3, 5)),
    "words without a dimension": (text_unet, torch.ones(2, 6)),
    "no words": (text_unet, {"encoder_hidden_states": None}),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_model_raises_over_its_input_says_what_it_was_given(name):
    make, condition = CALLS[name]
    model = make()
    x = X if model.config.in_channels == 1 else LATENTS
    with pytest.raises(ScoreRegsError, match=r"got .*expected") as refused:
        prior_of(model).epsilon(x, 0.5, condition)
    assert type(model).__name__ in str(refused.value)
    assert refused.value.__cause__ is not None


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, NotImplementedError])
def test_what_a_model_raises_over_something_else_is_passed_on(kind):
    class Model(nn.Module):
        def forward(self, sample, timestep):
            raise kind

    with pytest.raises(kind):
        prior_of(Model()).epsilon(X, 0.5)


class Wrapper(nn.Module):
    """As PEFT's model, and as averages of weights and engines of trainers."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.add_module("inner" if name == "get_base_model" else name, model)
        if name == "get_base_model":
            self.get_base_model = lambda: model

    def forward(self, *args, **kwargs):
        return next(self.children())(*args, **kwargs)


@pytest.mark.parametrize("name", ["module", "get_base_model"])
def test_a_wrapped_model_is_known_by_what_is_wrapped(name):
    model = unet()
    expected = prior_of(model).epsilon(X, 0.5)
    assert torch.equal(prior_of(Wrapper(model, name)).epsilon(X, 0.5), expected)
    with pytest.raises(ArgumentError, match="ControlNetModel"):
        prior_of(Wrapper(diffusers.ControlNetModel.__new__(diffusers.ControlNetModel), name))


def test_a_model_of_ones_own_may_return_a_dict():
    class Model(nn.Module):
        def forward(self, sample, timestep):
            return {"sample": 2 * sample}

    assert torch.equal(prior_of(Model()).epsilon(X, 0.5), 2 * X)


class TestWeights:
    """diffusers leaves random numbers where weights are missing, and only logs that it does."""

    @pytest.fixture
    def folder(self, tmp_path):
        diffusers.DDPMPipeline(unet(), diffusers.DDPMScheduler()).save_pretrained(tmp_path)
        return tmp_path

    def test_a_missing_weight_is_an_error(self, folder):
        from safetensors.torch import load_file, save_file

        file = folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights = load_file(file)
        del weights["conv_in.weight"]
        save_file(weights, file, metadata={"format": "pt"})
        with pytest.raises(ArgumentError, match=r"unet .*without 1 .*conv_in\.weight"):
            DiffusersPrior.from_pretrained(folder)

    def test_weights_of_another_size_are_an_error(self, folder):
        file = folder / "unet" / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"block_out_channels": [16]}))
        with pytest.raises(ArgumentError, match="not of one model"):
            DiffusersPrior.from_pretrained(folder)


def autoencoder(**config) -> Any:
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(norm_num_groups=4, block_out_channels=(8,), **config).eval()


PICTURES = torch.linspace(-1, 1, 384).reshape(2, 3, 8, 8)


class TestLatents:
    @pytest.mark.parametrize(
        "images",
        [
            PICTURES.to(torch.uint8),
            PICTURES.numpy(),
            PICTURES[0],
            PICTURES[:, :1],
            PICTURES.permute(0, 2, 3, 1),
            PICTURES[:0],
            PICTURES[:, :, None],
            PICTURES * 127.5 + 127.5,
            None,
        ],
    )
    def test_what_is_no_picture_is_refused(self, images):
        with pytest.raises(ArgumentError, match=r"got images .*expected"):
            LatentCodec(autoencoder()).encode(images)

    @pytest.mark.parametrize(
        "latents", [LATENTS[0], LATENTS[:, :3], LATENTS.long(), np.ones((2, 4, 8, 8)), LATENTS[:0]]
    )
    def test_what_is_no_latent_is_refused(self, latents):
        with pytest.raises(ArgumentError, match=r"got latents .*expected"):
            LatentCodec(autoencoder()).decode(latents)

    def test_channels_of_patches_are_the_autoencoders_own(self):
        """As Wan 2.2's of 5B, which makes 12 channels of three."""
        vae = diffusers.AutoencoderKLWan(
            base_dim=4,
            decoder_base_dim=4,
            z_dim=4,
            dim_mult=[1, 1],
            num_res_blocks=1,
            temperal_downsample=[False],
            in_channels=12,
            out_channels=12,
            patch_size=2,
            is_residual=True,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ).eval()
        codec, frames = LatentCodec(vae), torch.zeros(1, 3, 1, 16, 16)
        with torch.no_grad():
            latents = codec.encode(frames)
            assert latents.shape[1] == 4
            assert codec.decode(latents).shape == frames.shape

    def test_statistics_of_other_channels_are_refused(self):
        vae = autoencoder(latents_mean=(0.0,) * 3, latents_std=(1.0,) * 3)
        with pytest.raises(ArgumentError, match="latents_mean of 3"):
            LatentCodec(vae)

    def test_a_wrapped_autoencoder_is_known_by_what_is_wrapped(self):
        vae = autoencoder()
        with torch.no_grad():
            expected = LatentCodec(vae).encode(PICTURES)
            wrapped = LatentCodec(nn.DataParallel(vae))
            assert torch.equal(wrapped.encode(PICTURES), expected)


def test_a_class_is_no_scheduler():
    with pytest.raises(ArgumentError, match="type"):
        read_scheduler(diffusers.DDPMScheduler)
