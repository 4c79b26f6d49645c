"""A prior from a diffusers model and its scheduler."""

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self, override

from scoreregs import GuidedPrior, ScorePrior
from scoreregs.arguments import (
    check_choice,
    check_count,
    check_numbers,
    check_positive,
    named_calls,
)
from scoreregs.errors import ArgumentError
from scoreregs.priors.edm import Preconditioned
from scoreregs.priors.guided import Coefficient, coefficient_at
from scoreregs.reprs import short
from scoreregs.schedules.tabulated import Interpolation
from scoreregs.trees import Condition
from scoreregs_diffusers.calls import ModelCall
from scoreregs_diffusers.channels import LearnedVariance
from scoreregs_diffusers.experts import Experts
from scoreregs_diffusers.guidance import NormGuidedPrior
from scoreregs_diffusers.pipelines import load_pipeline
from scoreregs_diffusers.schedulers import NetworkReading, fitted, read_scheduler

__all__ = ["DiffusersPrior"]


@named_calls
class DiffusersPrior(ScorePrior):
    """A prior from a diffusers model and the scheduler that belongs to it.

    The scheduler says how x_t is noised, what the model returns and what it wants as its time (see
    `scoreregs_diffusers.schedulers`); it is read once and not kept, so that a pipeline may go on
    using it. x_t is that of the prior's `schedule`, never `scheduler.add_noise`. The model's class
    says how its pipelines call it: which times it is handed, how latents are packed, what follows
    from their size. A class of diffusers without such a rule is refused.

    A condition is a tensor, given to the model as `encoder_hidden_states` where it has them and as
    `class_labels` otherwise, or a dict of the model's arguments, batch first. A model that takes
    more channels than it denoises (inpainting, editing, depth) finds the others in the condition's
    `extra_channels`. Two experts of different conditions take a dict of two conditions,
    `high_noise` and `low_noise`.

    Args:
        model: the pipeline's `unet` or `transformer`.
        scheduler: its scheduler.
        interpolation: of a scheduler's table: "nearest" calls the model at its training steps only,
            "log_snr" between them too.
        learned_variance: "refuse" models that also return a variance, or "drop" it.
        autocast: the dtype of an autocast around the model and nothing else, or None.
        guidance: the guidance scale that a distilled model embeds, which its pipelines call
            `guidance_scale`; only for those, which cannot do without.
        arguments: further arguments of the model that are the same for every row and have no
            batch, given as they are.
        image_tokens: the number of patches of a picture, by which a scheduler with a dynamic shift
            shifts its times; without it they are not shifted, which changes the distribution of
            the objective's times and nothing else, but for CogView 4, which needs it.
        low_noise_model: the second of two experts, as a pipeline's `transformer_2` or refiner,
            called below the boundary. Rows of both kinds in a batch make the device wait.
        boundary_ratio: the boundary, as a share of the scheduler's timesteps.

    Raises:
        ArgumentError: for an unsupported scheduler, prediction type or model, a table in half
            precision or not monotone, a learned variance; when called, for x or a condition that
            does not fit the model.

    Example:
        >>> from diffusers import DDPMScheduler, UNet2DModel
        >>> unet = UNet2DModel(
        ...     sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,),
        ...     down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        ...     layers_per_block=1, norm_num_groups=4,
        ... )
        >>> prior = DiffusersPrior(unet, DDPMScheduler())
        >>> prior.epsilon(torch.zeros(2, 1, 8, 8), 0.5).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        model: nn.Module,
        scheduler: Any,
        *,
        interpolation: Interpolation = "nearest",
        learned_variance: LearnedVariance = "refuse",
        autocast: torch.dtype | None = None,
        guidance: float | None = None,
        arguments: dict[str, Any] | None = None,
        image_tokens: int | None = None,
        low_noise_model: nn.Module | None = None,
        boundary_ratio: float | None = None,
    ) -> None:
        models = [model] if low_noise_model is None else [model, low_noise_model]
        if not all(isinstance(expert, nn.Module) for expert in models):
            raise ArgumentError(
                f"got a model of type {type(models[-1]).__name__}, expected a torch module: a "
                "pipeline's `unet` or `transformer`, or use DiffusersPrior.from_pretrained"
            )
        check_choice("learned_variance", learned_variance, ("refuse", "drop"))
        _check_options(autocast, guidance, arguments, image_tokens, boundary_ratio)
        reading = read_scheduler(scheduler, interpolation)
        calls = [
            ModelCall(
                expert,
                scheduler,
                learned_variance,
                autocast,
                guidance,
                dict(arguments or {}),
                refiner=expert is low_noise_model,
            )
            for expert in models
        ]
        reading = fitted(reading, scheduler, calls[0].family, image_tokens)
        super().__init__(reading.schedule, reading.prediction)
        self._models = models  # where `networks` finds them
        options = {
            "interpolation": interpolation,
            "learned_variance": learned_variance,
            "autocast": autocast,
            "guidance": guidance,
            "arguments": arguments,
            "image_tokens": image_tokens,
            "low_noise_model": low_noise_model,
            "boundary_ratio": boundary_ratio,
        }
        parameters = inspect.signature(DiffusersPrior).parameters
        told = {k: short(v) for k, v in options.items() if v != parameters[k].default}
        # Not the scheduler itself, which the pipeline goes on using.
        self._told = {
            "model": short(model),
            "scheduler": f"{type(scheduler).__name__}(...)",
            **told,
        }
        self._reading: NetworkReading = reading
        self._family = calls[0].family
        self._call = Experts(calls, boundary_ratio, scheduler.config.num_train_timesteps)

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self._told.items())})"

    @classmethod
    @named_calls
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        torch_dtype: torch.dtype | None = None,
        variant: str | None = None,
        interpolation: Interpolation = "nearest",
        learned_variance: LearnedVariance = "refuse",
        autocast: torch.dtype | None = None,
        guidance: float | None = None,
        arguments: dict[str, Any] | None = None,
        image_tokens: int | None = None,
    ) -> Self:
        """Returns the prior of a pipeline, of which only models and scheduler are loaded.

        Text encoders and the like are left alone, and need not be installed. Weights are read from
        safetensors only. Both experts of a pipeline that has two are loaded.

        Args:
            path: a pipeline's folder (with a `model_index.json`), or its name on the Hub.
            torch_dtype: of the model's weights; float32 by default, whatever they are saved in.
            variant: of the weights' files: "fp16" reads `*.fp16.safetensors`.
            interpolation: as for the class.
            learned_variance: as for the class.
            autocast: as for the class.
            guidance: as for the class.
            arguments: as for the class.
            image_tokens: as for the class.

        Raises:
            ArgumentError: where there is no such pipeline, model or scheduler, and as for the
                class.
            MissingDependencyError: without diffusers (extra `diffusers`).
        """
        loaded = load_pipeline(path, torch_dtype, variant)
        return cls(
            loaded.model,
            loaded.scheduler,
            interpolation=interpolation,
            learned_variance=learned_variance,
            autocast=autocast,
            guidance=guidance,
            arguments=arguments,
            image_tokens=image_tokens,
            low_noise_model=loaded.low_noise_model,
            boundary_ratio=loaded.boundary_ratio,
        )

    @named_calls
    def guided(self, guidance_scale: Coefficient, null: Condition) -> ScorePrior:
        r"""Returns this prior under classifier-free guidance as the family's pipelines do it.

        Most are `GuidedPrior`, $u + s (c - u)$ for predictions c under the condition and u under
        the null. Some call s - 1 their guidance scale; some then give each token's prediction
        the norm that it has under the condition.

        Args:
            guidance_scale: what the pipeline calls `guidance_scale` or `true_cfg_scale`: a number,
                or a function of the `NoiseLevel`, as for two experts with a scale each.
            null: the null or negative condition, as for `GuidedPrior`.

        Raises:
            ArgumentError: without a null condition, and for a family whose guidance is another.

        Example:
            >>> from diffusers import DDPMScheduler, UNet2DModel
            >>> unet = UNet2DModel(
            ...     sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,),
            ...     down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
            ...     layers_per_block=1, norm_num_groups=4, num_class_embeds=10,
            ... )
            >>> guided = DiffusersPrior(unet, DDPMScheduler()).guided(3.0, null=torch.tensor([9]))
            >>> guided.epsilon(torch.zeros(2, 1, 8, 8), 0.5, torch.tensor([0, 1])).shape
            torch.Size([2, 1, 8, 8])
        """
        kind = self._family.guidance
        if kind == "none":
            raise ArgumentError(
                f"got guided() for {self._family.name}, whose pipelines guide each frame by "
                "another scale, expected another family: use scoreregs.GuidedPrior for one scale"
            )
        if kind == "norm":
            return NormGuidedPrior(self, guidance_scale, null, self._family.layout)
        if kind == "plain":
            return GuidedPrior(self, guidance_scale, null)
        return GuidedPrior(self, lambda level: 1 + coefficient_at(guidance_scale, level), null)

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        reading, x = self._reading, x_t
        if isinstance(reading.prediction, Preconditioned):
            x = reading.prediction.input(x_t, self.schedule.at(t))
        output = self._call(x, reading.timestep(t), condition)
        return output if reading.sign == 1 else reading.sign * output


def _check_options(
    autocast: object,
    guidance: object,
    arguments: object,
    image_tokens: object,
    boundary_ratio: object,
) -> None:
    """Raises `ArgumentError` for an option of the wrong kind."""
    if autocast not in (None, torch.float16, torch.bfloat16):
        raise ArgumentError(
            f"got autocast={autocast!r}, expected torch.float16, torch.bfloat16 or None: there is "
            "no autocast to another"
        )
    if not isinstance(arguments, (dict, type(None))):
        raise ArgumentError(
            f"got arguments={arguments!r}, expected a dict of arguments of the model"
        )
    if guidance is not None:
        check_numbers(guidance=guidance)
    if image_tokens is not None:
        check_count("image_tokens", image_tokens)
    if boundary_ratio is not None:
        check_positive(boundary_ratio=boundary_ratio)
