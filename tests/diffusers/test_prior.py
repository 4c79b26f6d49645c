"""Priors of diffusers models: tiny ones of each kind, and one that knows its data."""

import copy
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scoreregs import (
    GaussianMixturePrior,
    GuidedPrior,
    ScoreRegularizedObjective,
    TabulatedSchedule,
)
from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs.testing import PriorContract
from scoreregs.trees import Condition, map_tensors
from scoreregs_diffusers import DiffusersPrior, LatentCodec, read_scheduler

diffusers = pytest.importorskip("diffusers")

BATCH = 3


def unet(**config):
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8,
        in_channels=config.pop("in_channels", 1),
        out_channels=config.pop("out_channels", 1),
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        **config,
    )


def text_unet(**config):
    torch.manual_seed(0)
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=6,
        attention_head_dim=4,
        **config,
    )


def dit():
    torch.manual_seed(0)
    model = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=1000,
    )
    for parameter in model.parameters():  # a fresh one's blocks are zero
        nn.init.normal_(parameter, std=0.1)
    return model


def sd3():
    torch.manual_seed(0)
    return diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=6,
        caption_projection_dim=8,
        pooled_projection_dim=5,
        out_channels=4,
    )


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 1, 2])
PROMPTS = randn(BATCH, 5, 6)
POOLED = randn(BATCH, 5)
# name: model, scheduler, learned_variance, condition, how the model itself is called
MODELS = {
    "unet": (unet, "DDPMScheduler", "refuse", None, {}),
    "unet with classes": (
        lambda: unet(num_class_embeds=4),
        "DDIMScheduler",
        "refuse",
        LABELS,
        {"class_labels": LABELS},
    ),
    "text unet": (
        text_unet,
        "PNDMScheduler",
        "refuse",
        PROMPTS,
        {"encoder_hidden_states": PROMPTS},
    ),
    "text unet by name": (
        lambda: text_unet(num_class_embeds=4),
        "DDIMScheduler",
        "refuse",
        {"encoder_hidden_states": PROMPTS, "class_labels": LABELS},
        {"encoder_hidden_states": PROMPTS, "class_labels": LABELS},
    ),
    "dit": (dit, "DPMSolverMultistepScheduler", "drop", LABELS, {"class_labels": LABELS}),
    "sd3": (
        sd3,
        "FlowMatchEulerDiscreteScheduler",
        "refuse",
        {"encoder_hidden_states": PROMPTS, "pooled_projections": POOLED},
        {"encoder_hidden_states": PROMPTS, "pooled_projections": POOLED},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_is_the_models_own_prediction(name):
    make, scheduler_name, variance, condition, arguments = MODELS[name]
    model = make()
    prior = DiffusersPrior(model, getattr(diffusers, scheduler_name)(), learned_variance=variance)
    x_t = randn(BATCH, model.config.in_channels, 8, 8)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    level = prior.schedule.at(t)
    with prior.evaluating():
        got = prior.predict(x_t, level.t, condition)
    timestep = 1000 * t if name == "sd3" else (1000 * t).round().long() - 1
    model.eval()
    with torch.no_grad():
        expected = model(
            x_t, timestep=timestep.to(torch.float32 if name == "sd3" else torch.int64), **arguments
        ).sample
    assert torch.equal(got, expected[:, : x_t.shape[1]])
    assert expected.std() > 0
    objective = ScoreRegularizedObjective.from_value(
        None, prior, generator=torch.Generator().manual_seed(0)
    )
    x = x_t.clone().requires_grad_()
    objective(x, condition).loss.backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert all(p.grad is None for p in model.parameters())


def test_guidance_is_one_call_on_both_conditions():
    prior = DiffusersPrior(text_unet(), diffusers.DDIMScheduler())
    null, x_t = torch.zeros(1, 5, 6), randn(BATCH, 4, 8, 8)
    guided = GuidedPrior(prior, 7.5, null).epsilon(x_t, 0.5, PROMPTS)
    away = prior.epsilon(x_t, 0.5, null.expand(BATCH, 5, 6))
    expected = away + 7.5 * (prior.epsilon(x_t, 0.5, PROMPTS) - away)
    torch.testing.assert_close(guided, expected, rtol=1e-4, atol=1e-4)


VIDEO = {
    "base_dim": 3,
    "z_dim": 16,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
}
OTHER_AUTOENCODERS = {
    "AutoencoderTiny": lambda: diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        scaling_factor=0.5,
    ),
    "AutoencoderDC": lambda: diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        scaling_factor=0.41407,
    ),
    "AutoencoderKLWan": lambda: diffusers.AutoencoderKLWan(**VIDEO),
    "AutoencoderKLQwenImage": lambda: diffusers.AutoencoderKLQwenImage(**VIDEO),
}


class ExactModel(nn.Module):
    """A model in the manner of diffusers that knows a mixture."""

    def __init__(self, truth: GaussianMixturePrior) -> None:
        super().__init__()
        self.truth = truth
        self.config = {"in_channels": 1, "out_channels": 1}
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.5)

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        assert timestep.dtype == torch.int64
        t = (timestep + 1).double() / 1000
        level = self.truth.schedule.at(t)
        score = self.truth.predict(sample.double(), level.t)
        epsilon = -level.sigma[:, None, None, None] * score
        return (self.dropout(self.scale * epsilon.to(sample.dtype)),)


def truth() -> GaussianMixturePrior:
    schedule = TabulatedSchedule.from_alphas_cumprod(diffusers.DDPMScheduler().alphas_cumprod)
    means = torch.stack([torch.full((1, 2, 2), -0.7), torch.full((1, 2, 2), 0.5)])
    return GaussianMixturePrior([0.4, 0.6], means, 0.1 * torch.eye(4).expand(2, 4, 4), schedule)


class TestContract(PriorContract):
    @pytest.fixture(autouse=True, params=["DDPMScheduler", "EulerDiscreteScheduler"])
    def _scheduler(self, request):
        self.name = request.param

    def make_prior(self):
        return DiffusersPrior(ExactModel(truth()), getattr(diffusers, self.name)())

    def make_data(self):
        generator = torch.Generator().manual_seed(0)
        return truth().draw(512, generator=generator).float(), None


class TestPrecision:
    def test_autocast_is_around_the_model_only(self):
        seen = []

        class Watched(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(8, 8)

            def forward(self, sample, timestep, return_dict=True):
                output = self.linear(sample)
                seen.append((torch.is_autocast_enabled("cpu"), sample.dtype, output.dtype))
                return (output,)

        model = Watched()
        prior = DiffusersPrior(model, diffusers.DDPMScheduler(), autocast=torch.bfloat16)
        epsilon = prior.epsilon(randn(2, 1, 8, 8), 0.5)
        assert seen == [(True, torch.float32, torch.bfloat16)]
        assert epsilon.dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")
        # x_hat = (x_t - sigma eps) / alpha outside: float32 from the bfloat16 prediction
        x_t = randn(2, 1, 8, 8)
        level = prior.schedule.at(torch.full((2,), 0.5))
        expected = (x_t - level.sigma[0].float() * prior.epsilon(x_t, 0.5)) / level.alpha[0].float()
        torch.testing.assert_close(prior.denoise(x_t, 0.5), expected, rtol=1e-5, atol=1e-5)

    def test_without_autocast_there_is_none(self):
        exact = DiffusersPrior(unet(), diffusers.DDPMScheduler()).epsilon(randn(2, 1, 8, 8), 0.5)
        cast = DiffusersPrior(unet(), diffusers.DDPMScheduler(), autocast=torch.bfloat16)
        rounded = cast.epsilon(randn(2, 1, 8, 8), 0.5)
        assert not torch.equal(exact, rounded)
        torch.testing.assert_close(exact, rounded, rtol=0.1, atol=0.1)

    def test_a_bfloat16_model_is_called_in_bfloat16(self):
        prior = DiffusersPrior(unet().bfloat16(), diffusers.DDPMScheduler())
        assert prior.epsilon(randn(2, 1, 8, 8), 0.5).dtype == torch.float32

    def test_a_model_that_is_cast_later_is_called_in_its_new_precision(self):
        seen, model = [], unet()
        prior = DiffusersPrior(model, diffusers.DDPMScheduler())
        model.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append(kwargs["sample"].dtype), with_kwargs=True
        )
        x = randn(2, 1, 8, 8)
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            model.to(dtype)
            prior.epsilon(x, 0.5)
        assert seen == [torch.float32, torch.bfloat16, torch.float64]


class TestBadInput:
    def test_a_learned_variance_is_refused_or_dropped(self):
        model = unet(in_channels=1, out_channels=2)
        with pytest.raises(ArgumentError, match='learned_variance="drop"'):
            DiffusersPrior(model, diffusers.DDPMScheduler())
        prior = DiffusersPrior(model, diffusers.DDPMScheduler(), learned_variance="drop")
        x_t = randn(2, 1, 8, 8)
        with torch.no_grad():
            expected = model.eval()(x_t, torch.tensor([499, 499])).sample[:, :1]
        torch.testing.assert_close(prior.epsilon(x_t, 0.5), expected)

    @pytest.mark.parametrize(
        ("make", "options", "message"),
        [
            (SimpleNamespace, {}, "torch module"),
            (lambda: nn.Linear(1, 1), {}, "timestep"),
            (unet, {"learned_variance": "cut"}, "'refuse', 'drop'"),
            (unet, {"interpolation": "linear"}, "nearest"),
        ],
    )
    def test_what_is_no_model_or_option_is_refused(self, make, options: Any, message):
        with pytest.raises(ArgumentError, match=message):
            DiffusersPrior(make(), diffusers.DDPMScheduler(), **options)

    @pytest.mark.parametrize(
        ("make", "condition", "message"),
        [
            (text_unet, None, "expected encoder_hidden_states of"),
            (text_unet, {"prompt": PROMPTS}, "prompt"),
            (text_unet, [PROMPTS], "list"),
            (unet, {"encoder_hidden_states": PROMPTS}, "class_labels"),
        ],
    )
    def test_a_condition_that_does_not_fit_is_refused(self, make, condition, message):
        model = make()
        prior = DiffusersPrior(model, diffusers.DDPMScheduler())
        with pytest.raises(ArgumentError, match=message):
            prior.epsilon(randn(BATCH, model.config.in_channels, 8, 8), 0.5, condition)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    model, scheduler = unet(), diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    diffusers.DDPMPipeline(model, scheduler).save_pretrained(folder)
    return SimpleNamespace(folder=folder, model=model, scheduler=scheduler)


class TestPretrained:
    def test_a_saved_pipeline_is_the_same_prior(self, pipeline):
        x_t = randn(2, 1, 8, 8)
        expected = DiffusersPrior(pipeline.model, pipeline.scheduler).epsilon(x_t, 0.3)
        got = DiffusersPrior.from_pretrained(pipeline.folder)
        assert torch.equal(got.epsilon(x_t, 0.3), expected)
        half = DiffusersPrior.from_pretrained(str(pipeline.folder), torch_dtype=torch.bfloat16)
        assert {p.dtype for n in half.networks() for p in n.parameters()} == {torch.bfloat16}

    def test_a_transformer_is_found(self, tmp_path):
        model, scheduler = dit(), diffusers.DDIMScheduler()
        vae = diffusers.AutoencoderKL(norm_num_groups=4, block_out_channels=(8,))
        diffusers.DiTPipeline(model, vae, scheduler).save_pretrained(tmp_path)
        prior = DiffusersPrior.from_pretrained(tmp_path, learned_variance="drop")
        expected = DiffusersPrior(model, scheduler, learned_variance="drop")
        x_t = randn(BATCH, 4, 8, 8)
        assert torch.equal(prior.epsilon(x_t, 0.3, LABELS), expected.epsilon(x_t, 0.3, LABELS))
        codec = LatentCodec.from_pretrained(tmp_path)
        images = randn(1, 3, 8, 8)
        assert torch.equal(codec.encode(images), LatentCodec(vae).encode(images))

    def test_other_classes_of_the_pipeline_are_not_needed(self, pipeline, tmp_path):
        shutil.copytree(pipeline.folder, tmp_path / "p")
        index = tmp_path / "p" / "model_index.json"
        config = json.loads(index.read_text())
        index.write_text(json.dumps({**config, "text_encoder": ["transformers", "NoSuchModel"]}))
        DiffusersPrior.from_pretrained(tmp_path / "p")
        index.write_text(json.dumps({**config, "unet": ["mine", "NoSuchModel"]}))
        with pytest.raises(ArgumentError, match=r"mine\.NoSuchModel"):
            DiffusersPrior.from_pretrained(tmp_path / "p")
        index.write_text(json.dumps({"_class_name": "P", "vae": ["diffusers", "AutoencoderKL"]}))
        with pytest.raises(ArgumentError, match="transformer or a unet"):
            DiffusersPrior.from_pretrained(tmp_path / "p")

    def test_pickled_weights_are_not_read(self, tmp_path):
        pipeline = diffusers.DDPMPipeline(unet(), diffusers.DDPMScheduler())
        pipeline.save_pretrained(tmp_path, safe_serialization=False)
        with pytest.raises(ArgumentError, match="safetensors"):
            DiffusersPrior.from_pretrained(tmp_path)

    def test_a_variant_is_read_and_named(self, tmp_path):
        half = unet().half()
        pipeline = diffusers.DDPMPipeline(half, diffusers.DDPMScheduler())
        pipeline.save_pretrained(tmp_path, variant="fp16")
        with pytest.raises(ArgumentError, match=r"fp16\.safetensors, pass variant='fp16'"):
            DiffusersPrior.from_pretrained(tmp_path)
        prior = DiffusersPrior.from_pretrained(tmp_path, variant="fp16", torch_dtype=torch.float32)
        expected = DiffusersPrior(half.float(), diffusers.DDPMScheduler())
        x_t = randn(2, 1, 8, 8)
        assert torch.equal(prior.epsilon(x_t, 0.3), expected.epsilon(x_t, 0.3))
        pipeline.save_pretrained(tmp_path / "plain")
        with pytest.raises(ArgumentError, match="pass variant=None"):
            DiffusersPrior.from_pretrained(tmp_path / "plain", variant="bf16")

    def test_a_variant_in_several_files_is_read_and_told_where_one_is_gone(self, tmp_path):
        half = unet().half()
        diffusers.DDPMPipeline(half, diffusers.DDPMScheduler()).save_pretrained(
            tmp_path, variant="fp16", max_shard_size="2KB"
        )
        with pytest.raises(ArgumentError, match="pass variant='fp16'"):
            DiffusersPrior.from_pretrained(tmp_path)
        prior = DiffusersPrior.from_pretrained(tmp_path, variant="fp16", torch_dtype=torch.float32)
        expected = DiffusersPrior(half.float(), diffusers.DDPMScheduler())
        x_t = randn(2, 1, 8, 8)
        assert torch.equal(prior.epsilon(x_t, 0.3), expected.epsilon(x_t, 0.3))
        first, *others = sorted((tmp_path / "unet").glob("*.safetensors"))
        assert len(others) > 1
        first.unlink()
        with pytest.raises(ArgumentError, match="not its index or all that the index lists"):
            DiffusersPrior.from_pretrained(tmp_path, variant="fp16")

    def test_one_file_is_told_how_to_be_loaded(self, tmp_path):
        with pytest.raises(ArgumentError, match="from_single_file"):
            DiffusersPrior.from_pretrained(tmp_path / "model.safetensors")

    def test_both_experts_of_a_pipeline_are_read(self, tmp_path):
        """As diffusers saves Wan 2.2: each in its range of noise, by its own output."""
        experts = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            model = diffusers.WanTransformer3DModel(
                num_attention_heads=2,
                attention_head_dim=12,
                in_channels=4,
                out_channels=4,
                text_dim=6,
                freq_dim=16,
                ffn_dim=32,
                num_layers=1,
                rope_max_seq_len=32,
            )
            experts.append(model.eval())
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
        parts = {"transformer": experts[0], "transformer_2": experts[1], "scheduler": scheduler}
        for name, part in parts.items():
            part.save_pretrained(tmp_path / name)
        index = {
            "_class_name": "WanPipeline",
            "boundary_ratio": 0.875,
            **{name: ["diffusers", type(part).__name__] for name, part in parts.items()},
        }
        (tmp_path / "model_index.json").write_text(json.dumps(index))
        prior = DiffusersPrior.from_pretrained(tmp_path)
        sigma = torch.tensor([0.95, 0.3], dtype=torch.float64)
        t = prior.schedule.t_from_log_snr(2 * torch.log((1 - sigma) / sigma))
        x, text = randn(2, 4, 1, 8, 8), randn(2, 5, 6)
        got = prior.predict(x, t, text)
        for row, expert in enumerate(experts):
            with torch.no_grad():
                expected = expert(x, 1000 * sigma.float(), text).sample[row]
            torch.testing.assert_close(got[row], expected, rtol=1e-4, atol=1e-4)
        image = {"_class_name": "WanImageToVideoPipeline", "expand_timesteps": True}
        (tmp_path / "model_index.json").write_text(json.dumps({**index, **image}))
        with pytest.raises(ArgumentError, match="a time for each"):
            DiffusersPrior.from_pretrained(tmp_path)
        (tmp_path / "model_index.json").write_text(json.dumps({**index, "boundary_ratio": None}))
        with pytest.raises(ArgumentError, match="boundary_ratio together"):
            DiffusersPrior.from_pretrained(tmp_path)

    @pytest.mark.parametrize("name", ["edm-cifar10.pkl", "model.ckpt"])
    def test_a_pickle_is_refused(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ArgumentError, match="EDMPrior"):
            DiffusersPrior.from_pretrained(tmp_path / name)

    def test_a_pipeline_that_calls_its_model_by_a_rule_of_its_own_is_refused(self, tmp_path):
        (tmp_path / "model_index.json").write_text(
            json.dumps({"_class_name": "MarigoldDepthPipeline", "unet": ["diffusers", "X"]})
        )
        with pytest.raises(ArgumentError, match="MarigoldDepthPipeline"):
            DiffusersPrior.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("index", "reason"),
        [
            ({"_class_name": "QwenImageEditPlusPipeline"}, "tokens of a picture"),
            ({"_class_name": "Flux2KleinPipeline", "is_distilled": True}, "no posterior mean"),
        ],
    )
    def test_a_pipeline_whose_model_is_not_the_familys_is_refused(self, tmp_path, index, reason):
        part = {"transformer": ["diffusers", "QwenImageTransformer2DModel"]}
        (tmp_path / "model_index.json").write_text(json.dumps(index | part))
        with pytest.raises(ArgumentError, match=f"{index['_class_name']}.*{reason}"):
            DiffusersPrior.from_pretrained(tmp_path)

    def test_a_folder_without_a_pipeline_is_refused(self, tmp_path):
        with pytest.raises(ArgumentError, match=r"model_index\.json"):
            DiffusersPrior.from_pretrained(tmp_path)

    def test_diffusers_is_imported_when_it_is_needed(self, pipeline, monkeypatch):
        program = (
            "import sys, scoreregs_diffusers; "
            "assert not any(m.split('.')[0] == 'diffusers' for m in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", program], check=True)
        monkeypatch.setitem(sys.modules, "diffusers", None)
        with pytest.raises(MissingDependencyError, match=r"scoreregs\[diffusers\]"):
            DiffusersPrior.from_pretrained(pipeline.folder)


class TestLatents:
    @staticmethod
    def vae(**config):
        torch.manual_seed(0)
        return diffusers.AutoencoderKL(
            norm_num_groups=4, block_out_channels=(8,), latent_channels=4, **config
        ).eval()

    @pytest.mark.parametrize(
        "config",
        [
            {"scaling_factor": 0.18215},
            {"scaling_factor": 1.5305, "shift_factor": 0.0609},
            {
                "scaling_factor": 0.5,
                "latents_mean": (0.1, 0.2, 0.3, 0.4),
                "latents_std": (1, 2, 3, 4),
            },
        ],
    )
    def test_scale_and_offset_are_the_pipelines(self, config):
        vae = self.vae(**config)
        codec, images = LatentCodec(vae), randn(2, 3, 8, 8)
        with torch.no_grad():
            mean = vae.encode(images).latent_dist.mean
            latents = codec.encode(images)
            if "latents_mean" in config:
                offset, std = (
                    torch.tensor(config[k]).reshape(1, 4, 1, 1)
                    for k in ("latents_mean", "latents_std")
                )
                expected = (mean - offset) / std * 0.5
            else:
                expected = (mean - config.get("shift_factor", 0)) * config["scaling_factor"]
            torch.testing.assert_close(latents, expected)
            torch.testing.assert_close(codec.decode(latents), vae.decode(mean).sample)

    def test_the_gradient_of_pixels_is_pulled_back_through_the_encoder(self):
        """x.grad is the residual of the latents times the encoder's Jacobian."""
        vae, images = self.vae(), randn(2, 3, 8, 8)
        codec = LatentCodec(vae)
        prior = DiffusersPrior(text_unet(), diffusers.DDIMScheduler())
        objective = ScoreRegularizedObjective.from_value(None, prior, reduction="sum")
        x, noise = images.clone().requires_grad_(), randn(2, 4, 8, 8, seed=1)
        latents = codec.encode(x)
        result = objective(latents, PROMPTS[:2], t=0.5, noise=noise)
        result.loss.backward()
        leaf = images.clone().requires_grad_()
        (expected,) = torch.autograd.grad(codec.encode(leaf), leaf, result.gradient)
        assert x.grad is not None
        assert expected.abs().max() > 0
        torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-7)

    def test_a_value_of_pixels_stands_beside_a_prior_of_latents(self):
        """x.grad is Eq. 15 with its second term pulled back through the encoder."""
        codec, images, beta = LatentCodec(self.vae()), randn(2, 3, 8, 8), 0.5
        prior = DiffusersPrior(text_unet(), diffusers.DDIMScheduler())
        distillation = ScoreRegularizedObjective.from_value(None, prior, beta=beta)
        x, noise = images.clone().requires_grad_(), randn(2, 4, 8, 8, seed=1)
        result = distillation(codec.encode(x), PROMPTS[:2], t=0.5, noise=noise)
        (result.loss - x.square().flatten(1).sum(1).mean()).backward()
        alone = ScoreRegularizedObjective.from_value(None, prior)
        residual = alone(codec.encode(images), PROMPTS[:2], t=0.5, noise=noise).gradient
        leaf = images.clone().requires_grad_()
        (pulled,) = torch.autograd.grad(codec.encode(leaf), leaf, residual / beta)
        assert x.grad is not None
        torch.testing.assert_close(x.grad, (pulled - 2 * images) / 2, rtol=1e-4, atol=1e-6)

    def test_a_value_of_pixels_reaches_latents_through_the_decoder(self):
        codec = LatentCodec(self.vae())
        prior = DiffusersPrior(text_unet(), diffusers.DDIMScheduler())
        objective = ScoreRegularizedObjective.from_value(
            lambda z, c: codec.decode(z).flatten(1).mean(1), prior, beta=float("inf")
        )
        z = randn(2, 4, 8, 8).requires_grad_()
        objective(z, PROMPTS[:2]).loss.backward()
        assert z.grad is not None
        assert z.grad.abs().max() > 0

    def test_an_autoencoder_that_overflows_is_computed_in_float32(self):
        """Pictures and gradients of float16 weights are those of the same weights in float32."""
        vae = self.vae(force_upcast=True)
        with torch.no_grad():  # activations of the middle block pass 65504
            vae.decoder.conv_in.weight.mul_(3e5)
        vae = vae.half()
        z, images = randn(1, 4, 8, 8).requires_grad_(), randn(1, 3, 8, 8)
        decoded, encoded = LatentCodec(vae).decode(z), LatentCodec(vae).encode(images)
        decoded.sum().backward()
        assert {p.dtype for p in vae.parameters()} == {torch.float16}
        exact = LatentCodec(copy.deepcopy(vae).float())
        assert bool(decoded.isfinite().all())
        assert z.grad is not None
        assert bool(z.grad.isfinite().all())
        torch.testing.assert_close(decoded, exact.decode(z))
        torch.testing.assert_close(encoded, exact.encode(images))
        plain = self.vae(force_upcast=False).half()
        with torch.no_grad():
            plain.decoder.conv_in.weight.mul_(6e4)
            assert not bool(LatentCodec(plain).decode(z).isfinite().all())

    @pytest.mark.parametrize("kind", ["AutoencoderTiny", "AutoencoderDC"])
    def test_autoencoders_without_a_distribution(self, kind):
        vae = OTHER_AUTOENCODERS[kind]().eval()
        codec, images = LatentCodec(vae), randn(1, 3, 16, 16)
        with torch.no_grad():
            output = vae.encode(images)
            latents = output.latents if kind == "AutoencoderTiny" else output.latent
            torch.testing.assert_close(codec.encode(images), latents * vae.config["scaling_factor"])
            torch.testing.assert_close(
                codec.decode(codec.encode(images)), vae.decode(latents).sample
            )

    @pytest.mark.parametrize("kind", ["AutoencoderKLWan", "AutoencoderKLQwenImage"])
    def test_autoencoders_of_videos_with_their_statistics(self, kind):
        vae = OTHER_AUTOENCODERS[kind]().eval()
        codec, frames = LatentCodec(vae), randn(1, 3, 1, 16, 16)
        with torch.no_grad():
            mean = vae.encode(frames).latent_dist.mean
            offset, std = (
                torch.tensor(vae.config[k]).reshape(1, -1, 1, 1, 1)
                for k in ("latents_mean", "latents_std")
            )
            torch.testing.assert_close(codec.encode(frames), (mean - offset) / std)
            decoded = codec.decode((mean - offset) / std)
            torch.testing.assert_close(decoded, vae.decode(mean).sample, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [("Linear", "expected one of"), ("AutoencoderKLFlux2", "batch norm"), ("VQModel", "book")],
    )
    def test_another_autoencoder_is_refused(self, kind, reason):
        vae = nn.Linear(1, 1) if kind == "Linear" else type(kind, (nn.Module,), {})()
        with pytest.raises(ArgumentError, match=f"{kind}.*{reason}"):
            LatentCodec(vae)


def test_conditions_of_a_batch_are_cut_with_it():
    """The trees of conditions that the models take go through the objective's draws."""
    condition: Condition = {"encoder_hidden_states": PROMPTS, "pooled_projections": POOLED}
    prior = DiffusersPrior(sd3(), diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
    objective = ScoreRegularizedObjective.from_value(None, prior, draws=2)
    x, noise = randn(BATCH, 4, 8, 8), randn(2, BATCH, 4, 8, 8)
    together = objective(x, condition, t=0.4, noise=noise).gradient
    row = map_tensors(lambda c: c[1:2], condition)
    alone = objective(x[1:2], row, t=0.4, noise=noise[:, 1:2]).gradient
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


def test_reads_like_its_construction():
    scheduler = diffusers.DDPMScheduler()
    told = "DiffusersPrior(model=UNet2DModel(...), scheduler=DDPMScheduler(...)"
    assert repr(DiffusersPrior(unet(), scheduler)) == f"{told})"
    prior = DiffusersPrior(
        unet(),
        scheduler,
        interpolation="log_snr",
        autocast=torch.bfloat16,
        low_noise_model=unet(),
        boundary_ratio=0.25,
    )
    assert repr(prior) == (
        f"{told}, interpolation='log_snr', autocast=torch.bfloat16, "
        "low_noise_model=UNet2DModel(...), boundary_ratio=0.25)"
    )
    assert repr(read_scheduler(diffusers.FlowMatchEulerDiscreteScheduler())) == (
        "NetworkReading(schedule=RectifiedFlowSchedule(shift=1), prediction='flow_prediction', "
        "time_map=<lambda>, sign=1)"
    )
    assert f"prior={prior!r}, " in repr(ScoreRegularizedObjective.from_value(None, prior))


@pytest.mark.parametrize(
    ("call", "keyword"),
    [
        (DiffusersPrior, "schedular"),
        (DiffusersPrior.guided, "nul"),
        (LatentCodec, "vay"),
        (read_scheduler, "interpolaton"),
    ],
)
def test_a_mistyped_keyword_gets_the_nearest_name(call, keyword):
    with pytest.raises(ArgumentError, match="did you mean"):
        call(**{keyword: 1})
