"""A prior from a diffusers model and its scheduler."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self, override

from scoreregs import EDMPrior, NetworkPrior, ScorePrior
from scoreregs.errors import ArgumentError
from scoreregs.priors.edm import Preconditioned
from scoreregs.schedules.tabulated import Interpolation
from scoreregs.trees import Condition
from scoreregs_diffusers.calls import LearnedVariance, ModelCall
from scoreregs_diffusers.pipelines import load_components
from scoreregs_diffusers.schedulers import NetworkReading, read_scheduler

__all__ = ["DiffusersPrior"]


class DiffusersPrior(ScorePrior):
    """A prior from a diffusers model and the scheduler that belongs to it.

    The scheduler says how x_t is noised, what the model returns and what it wants as its time (see
    `scoreregs_diffusers.schedulers`); it is read once and not kept, so that a pipeline may go on
    using it. x_t is that of the prior's `schedule`, never `scheduler.add_noise`.

    A condition is a tensor, given to the model as `encoder_hidden_states` where it has them and as
    `class_labels` otherwise, or a dict of the model's arguments.

    Args:
        model: the pipeline's `unet` or `transformer`.
        scheduler: its scheduler.
        interpolation: of a scheduler's table: "nearest" calls the model at its training steps only,
            "log_snr" between them too.
        learned_variance: "refuse" models that also return a variance, or "drop" it.
        autocast: the dtype of an autocast around the model and nothing else, or None.

    Raises:
        ArgumentError: for an unsupported scheduler, prediction type or model, a table in half
            precision or not monotone, a learned variance; when called, for a condition that does
            not fit the model.

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
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ArgumentError(
                f"got a model of type {type(model).__name__}, expected a torch module: a "
                "pipeline's `unet` or `transformer`, or use DiffusersPrior.from_pretrained"
            )
        if learned_variance not in ("refuse", "drop"):
            raise ArgumentError(
                f"got learned_variance={learned_variance!r}, expected 'refuse' or 'drop'"
            )
        reading = read_scheduler(scheduler, interpolation)
        call = ModelCall(model, learned_variance, autocast, reading.sign)
        self._network = _network_prior(call, reading)
        super().__init__(self._network.schedule, self._network.prediction)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        torch_dtype: torch.dtype | None = None,
        interpolation: Interpolation = "nearest",
        learned_variance: LearnedVariance = "refuse",
        autocast: torch.dtype | None = None,
    ) -> Self:
        """Returns the prior of a pipeline, of which only model and scheduler are loaded.

        Text encoders and the like are left alone, and need not be installed. Weights are read from
        safetensors only.

        Args:
            path: a pipeline's folder (with a `model_index.json`), or its name on the Hub.
            torch_dtype: of the model's weights; their own by default.
            interpolation: as for the class.
            learned_variance: as for the class.
            autocast: as for the class.

        Raises:
            ArgumentError: where there is no such pipeline, model or scheduler, and as for the
                class.
            MissingDependencyError: without diffusers (extra `diffusers`).
        """
        model, scheduler = load_components(path, torch_dtype)
        return cls(
            model,
            scheduler,
            interpolation=interpolation,
            learned_variance=learned_variance,
            autocast=autocast,
        )

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        return self._network.predict(x_t, t, condition)


def _network_prior(call: ModelCall, reading: NetworkReading) -> ScorePrior:
    if isinstance(reading.prediction, Preconditioned):
        return EDMPrior(call, reading.schedule, reading.prediction.sigma_data)
    return NetworkPrior(call, reading.schedule, reading.prediction, reading.time_map)
