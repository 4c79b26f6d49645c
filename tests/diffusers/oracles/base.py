"""Tiny random pipelines of each family, whose own denoising steps are the ground truth.

A row of `ORACLES` makes a pipeline of diffusers with a model of the real class, says how it is
called, and what the same condition is for a prior. Text encoders and autoencoders are left out:
prompts are given as embeddings, latents are returned.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

# Their own imports: pipelines of diffusers need transformers, and are Any to a type checker.
diffusers: Any = pytest.importorskip("diffusers", reason="needs the extra diffusers")
pytest.importorskip("transformers", reason="the pipelines of diffusers import transformers")

BATCH = 2


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def randomized(model: nn.Module, std: float = 0.2) -> nn.Module:
    """A model none of whose parts is silent: fresh ones start with zeros in their last layers."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * std + (parameter == 1).float())
    return model.eval()


@dataclass
class Oracle:
    """A pipeline, its call, and what a prior is given for the same.

    Attributes:
        pipe: the pipeline.
        call: its keyword arguments.
        condition: the prior's.
        null: the prior's null condition, where the call below is guided.
        guided: keyword arguments in addition that guide it.
        scale: the guidance scale in them.
        options: of `DiffusersPrior`.
        unpack: recorded latents, in the pipeline's layout, as x.
        model: the name of the pipeline's component.
    """

    pipe: Any
    call: dict[str, Any]
    condition: Any
    null: Any = None
    guided: dict[str, Any] = field(default_factory=dict)
    scale: float = 3.0
    options: dict[str, Any] = field(default_factory=dict)
    unpack: Callable[[Tensor], Tensor] = lambda latents: latents
    model: str = "transformer"

    @property
    def network(self) -> Any:
        return getattr(self.pipe, self.model)


@dataclass
class Step:
    """One step of a pipeline: latents and timestep before, latents after."""

    before: Tensor
    timestep: float
    after: Tensor
    log_snrs: tuple[float, float] | None


def denoise(oracle: Oracle, steps: int = 4, **more: Any) -> list[Step]:
    """Runs a pipeline and returns its steps, as its scheduler saw them."""
    scheduler, recorded = oracle.pipe.scheduler, []
    original = scheduler.step

    def step(model_output, timestep, sample, *args, **kwargs):
        index = len(recorded)
        if isinstance(scheduler, diffusers.DDIMScheduler):
            timestep = int(timestep)  # one pipeline makes its times floating numbers
        result = original(model_output, timestep, sample, *args, **kwargs)
        after = result[0] if isinstance(result, tuple) else result.prev_sample
        log_snrs = _log_snrs(scheduler, index)
        recorded.append(Step(sample.clone(), float(timestep), after.clone(), log_snrs))
        return result

    scheduler.step = step
    oracle.pipe.set_progress_bar_config(disable=True)
    try:
        oracle.pipe(
            **{"num_inference_steps": steps, "generator": torch.Generator().manual_seed(1)}
            | oracle.call
            | more
        )
    finally:
        scheduler.step = original
    return recorded


def _log_snrs(scheduler: Any, index: int) -> tuple[float, float] | None:
    """Before and after a step; None for a table, where the timestep says it."""
    if hasattr(scheduler, "alphas_cumprod") and not scheduler.config.get("use_flow_sigmas"):
        if scheduler.config.get("timestep_type") != "continuous":
            return None
        now, later = (scheduler.sigmas[i].double().log() for i in (index, index + 1))
        return float(-2 * now), float(-2 * later)
    sigmas = [scheduler.sigmas[i].double() for i in (index, index + 1)]
    if scheduler.config.get("invert_sigmas"):
        sigmas = [1 - sigma for sigma in sigmas]
    now, later = (float(2 * torch.log((1 - sigma) / sigma)) for sigma in sigmas)
    return now, later


def nothing(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


def unpatched(height: int, width: int, size: int = 2) -> Callable[[Tensor], Tensor]:
    """Tokens as pictures, by folding: another way than the library's."""

    def unpack(latents: Tensor) -> Tensor:
        columns = latents.transpose(1, 2)
        return nn.functional.fold(columns, (height, width), kernel_size=size, stride=size)

    return unpack


TEXT, OTHER = randn(1, 5, 16), randn(1, 5, 16, seed=7)
POOLED, OTHER_POOLED = randn(1, 12), randn(1, 12, seed=8)
# An embedded guidance scale that is exact in bfloat16 when it is taken a thousandfold.
EMBEDDED = 4.096
FLOW = diffusers.FlowMatchEulerDiscreteScheduler
TABLE: dict[str, Any] = {"clip_sample": False, "steps_offset": 1}
MASK, OTHER_MASK = torch.tensor([[1, 1, 1, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0]])


def small_vae(**config: Any) -> nn.Module:
    """An autoencoder that halves three times, for pipelines that encode pictures."""
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(
        block_out_channels=(4,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
        **config,
    ).eval()


def masked_condition(text: Tensor, mask: Tensor) -> dict[str, Tensor]:
    return {"encoder_hidden_states": text, "encoder_attention_mask": mask}


def picture_call(**more: Any) -> dict[str, Any]:
    """How a pipeline of pictures is called without guidance."""
    return {
        "prompt_embeds": TEXT,
        "height": 64,
        "width": 64,
        "guidance_scale": 1.0,
        "output_type": "latent",
    } | more


def text_guidance(**more: Any) -> dict[str, Any]:
    return {"guidance_scale": 3.0, "negative_prompt_embeds": OTHER} | more


def masked_guidance(**more: Any) -> dict[str, Any]:
    return text_guidance(negative_prompt_attention_mask=OTHER_MASK) | more


def masked_conditions() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return masked_condition(TEXT, MASK), masked_condition(OTHER, OTHER_MASK)
