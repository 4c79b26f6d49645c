"""Which models are plugged in and which refused, and what each is asked for."""

import importlib
import inspect
import pkgutil
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from scoreregs import ScoreRegularizedObjective
from scoreregs.errors import ArgumentError
from scoreregs.priors.guided import GuidedPrior
from scoreregs.trees import Condition
from scoreregs_diffusers import DiffusersPrior
from scoreregs_diffusers.families import FAMILIES, REFUSED

diffusers = pytest.importorskip("diffusers", reason="needs the extra diffusers")


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def every_model() -> dict[str, type[nn.Module]]:
    """Every class of model that the installed diffusers defines."""
    found = {}
    for module in pkgutil.walk_packages(diffusers.models.__path__, "diffusers.models."):
        for name, kind in vars(importlib.import_module(module.name)).items():
            own = isinstance(kind, type) and kind.__module__ == module.name
            if own and issubclass(kind, diffusers.ModelMixin):
                found[name] = kind
    return found


MODELS = every_model()
DENOISERS = sorted(
    name
    for name, kind in MODELS.items()
    if {"sample", "hidden_states"} & set(parameters := inspect.signature(kind.forward).parameters)
    and "timestep" in parameters
)
KNOWN = {model: family for family in FAMILIES for model in family.models}


def blank(name: str) -> Any:
    """An instance without layers: what is refused is refused by its class."""
    model: Any = MODELS[name].__new__(MODELS[name])
    nn.Module.__init__(model)
    model._internal_dict = {}
    return model


@pytest.mark.parametrize("name", DENOISERS)
def test_every_model_is_of_a_family_or_refused_by_name(name):
    if name in KNOWN:
        assert KNOWN[name].pipelines, "no pipeline that the rule is tested against"
        return
    for scheduler in (diffusers.DDPMScheduler(), diffusers.FlowMatchEulerDiscreteScheduler()):
        with pytest.raises(ArgumentError, match=f"got a {name}, ") as refused:
            DiffusersPrior(blank(name), scheduler)
        assert REFUSED.get(name, "is not known") in str(refused.value)


def test_there_are_denoisers_of_both_kinds():
    assert len(set(DENOISERS) & KNOWN.keys()) > 20
    assert len(set(DENOISERS) - KNOWN.keys()) > 10


@pytest.mark.parametrize("name", sorted(MODELS.keys() - KNOWN.keys()))
def test_no_other_model_of_diffusers_is_taken_for_ones_own(name):
    with pytest.raises(ArgumentError, match=name):
        DiffusersPrior(blank(name), diffusers.DDPMScheduler())


def test_what_is_refused_for_a_reason_is_not_also_a_family():
    assert not REFUSED.keys() & KNOWN.keys()


@pytest.mark.parametrize("option", ["zero_cond_t", "use_additional_t_cond"])
def test_a_model_that_edits_pictures_is_told_by_its_configuration(option):
    model = blank("QwenImageTransformer2DModel")
    model._internal_dict = {option: True}
    with pytest.raises(ArgumentError, match="edits pictures"):
        DiffusersPrior(model, FLOW())


def text_unet(**config) -> Any:
    torch.manual_seed(0)
    return diffusers.UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": (8,),
            "down_block_types": ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",),
            "mid_block_type": None,
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "cross_attention_dim": 6,
        }
        | config
    ).eval()


def flux(**config) -> Any:
    torch.manual_seed(0)
    return diffusers.FluxTransformer2DModel(
        **{
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "joint_attention_dim": 6,
            "pooled_projection_dim": 5,
            "axes_dims_rope": (2, 2, 4),
        }
        | config
    ).eval()


TEXT, POOLED = randn(2, 3, 6), randn(2, 5, seed=1)
WORDS: Condition = {"encoder_hidden_states": TEXT, "pooled_projections": POOLED}
FLOW = diffusers.FlowMatchEulerDiscreteScheduler
TABLE = diffusers.DDPMScheduler


class TestTime:
    def test_flux_is_handed_a_thousandth_of_the_timestep(self):
        """Its embedding sees 500 at sigma = 0.5, as in its pipelines."""
        model, seen = flux(), []
        model.time_text_embed.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        prior = DiffusersPrior(model, FLOW())
        prior.epsilon(randn(2, 4, 8, 8), 0.5, WORDS)
        assert torch.equal(seen[0], torch.full((2,), 500.0))


class TestPackedLatents:
    def test_latents_packed_by_somebody_else_are_called_with_fixed_ids(self):
        x = randn(2, 4, 8, 6)
        packed = diffusers_pack(x)
        expected = DiffusersPrior(flux(), FLOW()).epsilon(x, 0.4, WORDS)
        rows, columns = torch.arange(4.0), torch.arange(3.0)
        ids = torch.cartesian_prod(torch.zeros(1), rows, columns)
        prior = DiffusersPrior(flux(), FLOW(), arguments={"img_ids": ids})
        got = prior.epsilon(packed, 0.4, WORDS)
        torch.testing.assert_close(got, diffusers_pack(expected))
        objective = ScoreRegularizedObjective.from_value(None, prior)
        packed.requires_grad_()
        objective(packed, WORDS).loss.backward()
        assert packed.grad is not None

    def test_ids_have_no_place_in_a_condition(self):
        prior = DiffusersPrior(flux(), FLOW())
        with_ids: Condition = {
            "encoder_hidden_states": TEXT,
            "pooled_projections": POOLED,
            "img_ids": torch.zeros(1, 16, 3),
        }
        with pytest.raises(ArgumentError, match=r"once for all rows.*arguments=\{'img_ids'"):
            prior.epsilon(randn(2, 4, 8, 8), 0.5, with_ids)

    def test_latents_without_whole_patches_are_refused(self):
        prior = DiffusersPrior(flux(), FLOW())
        with pytest.raises(ArgumentError, match="a multiple of 2"):
            prior.epsilon(randn(2, 4, 8, 7), 0.5, WORDS)

    def test_an_argument_that_the_model_has_not_is_refused_when_made(self):
        with pytest.raises(ArgumentError, match="image_ids"):
            DiffusersPrior(flux(), FLOW(), arguments={"image_ids": torch.zeros(1, 3)})


def diffusers_pack(x):
    batch, channels, height, width = x.shape
    tokens = x.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return tokens.reshape(batch, height * width // 4, channels * 4)


class TestChannels:
    def test_extra_channels_are_asked_for_and_counted(self):
        prior = DiffusersPrior(text_unet(in_channels=9), TABLE())
        x, extra = randn(2, 4, 8, 8), randn(2, 5, 8, 8, seed=2)
        with pytest.raises(ArgumentError, match=r"'extra_channels': tensor with 5 channels"):
            prior.epsilon(x, 0.5, TEXT)
        with pytest.raises(ArgumentError, match="expected 4 channels at dimension 1; 5 more"):
            prior.epsilon(torch.cat([x, extra], 1), 0.5, TEXT)
        condition: Condition = {"encoder_hidden_states": TEXT, "extra_channels": extra[:, :4]}
        with pytest.raises(ArgumentError, match=r"expected \(2, 5, 8, 8\)"):
            prior.epsilon(x, 0.5, condition)
        plain = DiffusersPrior(text_unet(), TABLE())
        with pytest.raises(ArgumentError, match="as many channels as it denoises"):
            plain.epsilon(x, 0.5, {"encoder_hidden_states": TEXT, "extra_channels": extra})

    def test_a_scheduler_says_that_a_variance_is_learned(self):
        """A model that enlarges pictures has six channels in, and six out of which three are
        a variance: only the scheduler tells it from one that denoises six."""
        model = text_unet(in_channels=6, out_channels=6)
        scheduler = TABLE(variance_type="learned_range")
        with pytest.raises(ArgumentError, match='learned_variance="drop"'):
            DiffusersPrior(model, scheduler)
        prior = DiffusersPrior(model, scheduler, learned_variance="drop")
        x, small = randn(2, 3, 8, 8), randn(2, 3, 8, 8, seed=2)
        got = prior.epsilon(x, 0.5, {"encoder_hidden_states": TEXT, "extra_channels": small})
        with torch.no_grad():
            expected = model(torch.cat([x, small], 1), torch.tensor([499, 499]), TEXT).sample
        torch.testing.assert_close(got, expected[:, :3])

    def test_channels_that_no_rule_explains_are_refused_when_made(self):
        with pytest.raises(ArgumentError, match="4 channels in and 5 out"):
            DiffusersPrior(text_unet(out_channels=5), TABLE())


class TestGuidance:
    def test_a_distilled_model_needs_its_scale_when_made(self):
        for model, scheduler in (
            (flux(guidance_embeds=True), FLOW()),
            (text_unet(time_cond_proj_dim=4), TABLE()),
        ):
            with pytest.raises(ArgumentError, match=r"guidance=3\.5"):
                DiffusersPrior(model, scheduler)
        with pytest.raises(ArgumentError, match=r"guided\(scale, null\)"):
            DiffusersPrior(flux(), FLOW(), guidance=3.5)

    def test_guided_is_the_plain_formula_for_most(self):
        prior = DiffusersPrior(text_unet(), TABLE())
        x, null = randn(2, 4, 8, 8), torch.zeros(1, 3, 6)
        got = prior.guided(7.5, null).epsilon(x, 0.5, TEXT)
        assert torch.equal(got, GuidedPrior(prior, 7.5, null).epsilon(x, 0.5, TEXT))
        with pytest.raises(ArgumentError, match="null"):
            prior.guided(7.5, None)


class TestExperts:
    def test_rows_of_a_batch_are_each_experts_own(self):
        high, low = text_unet(), text_unet()
        with torch.no_grad():
            for parameter in low.parameters():
                parameter.mul_(1.5)
        prior = DiffusersPrior(high, TABLE(), low_noise_model=low, boundary_ratio=0.5)
        x, text, t = randn(5, 4, 8, 8), randn(5, 3, 6), torch.tensor([0.9, 0.1, 0.501, 0.5, 0.2])
        got = prior.epsilon(x, t, text)
        alone = [DiffusersPrior(model, TABLE()).epsilon(x, t, text) for model in (high, low)]
        # Timestep 500 is at t = 0.501, and at the boundary the first is asked.
        for row, expert in enumerate((0, 1, 0, 1, 1)):
            torch.testing.assert_close(got[row], alone[expert][row])
        assert not torch.allclose(alone[0], alone[1])
        assert set(prior.networks()) == {high, low}
        same = prior.epsilon(x, t, text[:1].expand(5, -1, -1))
        torch.testing.assert_close(prior.epsilon(x, t, text[:1]), same)

    def test_each_may_have_a_condition_of_its_own(self):
        high, low = text_unet(), text_unet(cross_attention_dim=7)
        prior = DiffusersPrior(high, TABLE(), low_noise_model=low, boundary_ratio=0.5)
        x, t, wide = randn(2, 4, 8, 8), torch.tensor([0.9, 0.1]), randn(2, 3, 7)
        got = prior.epsilon(x, t, {"high_noise": TEXT, "low_noise": wide})
        expected = DiffusersPrior(low, TABLE()).epsilon(x[1:], t[1:], wide[1:])
        torch.testing.assert_close(got[1:], expected)
        with pytest.raises(ArgumentError, match="high_noise and low_noise"):
            prior.epsilon(x, t, {"high_noise": TEXT})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"boundary_ratio": 0.5}, "together"),
            ({"low_noise_model": text_unet()}, "together"),
            ({"low_noise_model": text_unet(), "boundary_ratio": 875}, r"\(0, 1\)"),
            ({"low_noise_model": SimpleNamespace(), "boundary_ratio": 0.5}, "torch module"),
        ],
    )
    def test_a_boundary_needs_two_models(self, options, message):
        with pytest.raises(ArgumentError, match=message):
            DiffusersPrior(text_unet(), TABLE(), **options)

    @pytest.mark.parametrize(
        ("low", "message"),
        [
            (lambda: text_unet(in_channels=6, out_channels=6), "channels of x, 4 as model and 6"),
            (lambda: text_unet(in_channels=9, out_channels=4), None),
            (flux, r"families, .* as model and Flux\.1 as"),
        ],
    )
    def test_both_denoise_one_x(self, low, message):
        """Further channels, as of a mask, may be another number: each has its own condition."""
        options = {"boundary_ratio": 0.5, "learned_variance": "drop"}
        if message is None:
            DiffusersPrior(text_unet(), TABLE(), low_noise_model=low(), **options)
            return
        with pytest.raises(ArgumentError, match=f"two experts of other {message}.*one pipeline"):
            DiffusersPrior(text_unet(), TABLE(), low_noise_model=low(), **options)

    def test_a_refiner_is_told_and_needs_its_base(self):
        sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
        base = text_unet(**sizes, projection_class_embeddings_input_dim=6 + 6 * 8)
        refiner = text_unet(**sizes, projection_class_embeddings_input_dim=6 + 5 * 8)
        with pytest.raises(ArgumentError, match="a refiner"):
            DiffusersPrior(refiner, TABLE())
        DiffusersPrior(base, TABLE(), low_noise_model=refiner, boundary_ratio=0.2)


class TestSchedules:
    def test_a_table_is_none_of_a_flow_model(self):
        with pytest.raises(ArgumentError, match=r"DDPMScheduler for Flux\.1"):
            DiffusersPrior(flux(), TABLE())

    @pytest.mark.parametrize("kind", ["exponential", "linear"])
    def test_a_dynamic_shift_is_the_pipelines_for_a_number_of_tokens(self, kind):
        """Of its own rule: mu from 0.5 at 256 tokens to 1.15 at 4096."""
        scheduler = FLOW(use_dynamic_shifting=True, time_shift_type=kind)
        prior = DiffusersPrior(flux(), scheduler, image_tokens=1000)
        scheduler.set_timesteps(sigmas=[0.9, 0.5, 0.2], mu=0.5 + 744 * 0.65 / 3840)
        sigma = prior.schedule(torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64))[1]
        torch.testing.assert_close(sigma.float(), scheduler.sigmas[:3])

    def test_a_dynamic_shift_changes_times_only(self):
        """At one noise level the prediction is the same, whatever the shift."""
        scheduler = FLOW(use_dynamic_shifting=True)
        x, log_snr = randn(2, 4, 8, 8), torch.tensor([0.7, 0.7], dtype=torch.float64)
        priors = [DiffusersPrior(flux(), scheduler, image_tokens=n) for n in (None, 4096)]
        first, second = (
            prior.epsilon(x, prior.schedule.t_from_log_snr(log_snr), WORDS) for prior in priors
        )
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)

    def test_tokens_without_a_dynamic_shift_are_refused(self):
        with pytest.raises(ArgumentError, match="image_tokens=16"):
            DiffusersPrior(flux(), FLOW(shift=3.0), image_tokens=16)


def test_a_model_of_ones_own_may_derive_from_one_of_diffusers():
    class Mine(diffusers.UNet2DConditionModel):
        pass

    class Alone(diffusers.ModelMixin, diffusers.ConfigMixin):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, sample, timestep):
            return 2 * self.scale * sample

    mine = Mine(**text_unet().config).eval()
    x = randn(2, 4, 8, 8)
    with pytest.raises(ArgumentError, match="encoder_hidden_states"):
        DiffusersPrior(mine, TABLE()).epsilon(x, 0.5)
    assert torch.equal(DiffusersPrior(Alone(), TABLE()).epsilon(x, 0.5), 2 * x)


def test_a_compiled_model_is_known_by_what_is_compiled():
    model = text_unet()
    compiled: Any = torch.compile(model, backend="eager")
    x = randn(2, 4, 8, 8)
    got = DiffusersPrior(compiled, TABLE()).epsilon(x, 0.5, TEXT)
    torch.testing.assert_close(got, DiffusersPrior(model, TABLE()).epsilon(x, 0.5, TEXT))
