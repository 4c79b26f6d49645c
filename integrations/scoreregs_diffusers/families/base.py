"""What the pipelines of one family do between a scheduler's time and their model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from scoreregs_diffusers.layouts import AsItIs, Layout

__all__ = [
    "Channels",
    "Family",
    "Guidance",
    "ModelInput",
    "Rule",
    "grid_ids",
    "linear_shift",
    "no_channels",
    "own_channels",
    "reversed_fraction",
    "root_shift",
    "thousandth",
]

Channels = tuple[int, int] | None
Guidance = Literal["plain", "one more", "norm", "none"]
Rule = Callable[["ModelInput"], dict[str, Any]]


@dataclass(frozen=True)
class ModelInput:
    """What the arguments that a family's pipelines compute are computed from.

    Attributes:
        config: the model's.
        x: latents, before they are packed.
        packed: latents as the model takes them.
        arguments: what the condition gives, and the arguments that are fixed.
    """

    config: Any
    x: Tensor
    packed: Tensor
    arguments: dict[str, Any]

    def where_absent(self, **arguments: Any) -> dict[str, Any]:
        """Returns those of some arguments that are not given already."""
        return {k: v for k, v in arguments.items() if self.arguments.get(k) is None}


def own_channels(config: Any, layout: Layout) -> Channels:
    """Returns the channels that a model takes and returns, counted as those of x."""
    taken = config.get("in_channels")
    if taken is None:
        return None
    returned = config.get("out_channels") or taken
    return taken // layout.patch_area, returned // layout.patch_area


def no_channels(config: Any, layout: Layout) -> Channels:
    """Returns None: the configuration does not say how many channels x has."""
    return None


def _nothing(inputs: ModelInput) -> dict[str, Any]:
    return {}


def _as_it_is(timestep: Tensor, steps: int, config: Any) -> Tensor:
    return timestep


def _accept(config: Any) -> str | None:
    return None


def linear_shift(tokens: int, config: Any) -> float:
    """Returns the shift parameter mu, which is linear in the number of tokens.

    References:
        `calculate_shift` of diffusers' Flux and Stable Diffusion 3 pipelines.
    """
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return base + (tokens - low) * (top - base) / (high - low)


def root_shift(tokens: int, config: Any) -> float:
    """Returns the shift parameter mu that grows with a picture's side."""
    side = (tokens / config.get("base_image_seq_len", 256)) ** 0.5
    return side * config.get("max_shift", 0.75) + config.get("base_shift", 0.25)


PICTURES = AsItIs(4)


@dataclass(frozen=True)
class Family:
    """How the pipelines of one family call their model; a row of the table in the documentation.

    Attributes:
        name: what people call it.
        models: classes of diffusers.
        pipelines: classes of diffusers that the row is tested against.
        x: the shape of the latents.
        needs: the arguments that a condition has to hold.
        note: what else to know, for the documentation.
        flow: whether a flow-matching scheduler is the only one that fits.
        time: what the model is handed, a function of the scheduler's timestep, of its number of
            steps and of the model's configuration.
        time_in_own_dtype: whether the model takes its dtype from the time.
        unshifted_time: whether the model is handed the time before a flow's shift.
        shift: how much a dynamic shift is for a number of tokens, by the scheduler's
            configuration; None where it depends on more.
        sign: multiplies the model's output.
        layout: how the model takes x.
        channel_axis: where further channels are concatenated.
        channels: what the model takes and returns, in channels of x.
        lone: what a condition that is a single tensor is given as; the first that a model has.
        derived: the arguments that the pipelines compute from the latents and the condition, in
            place of the condition's.
        supplied: those of them that the model cannot do without.
        shared: those of them without a batch, which a condition cannot hold.
        embedded: the arguments by which distilled models embed a guidance scale.
        guidance: how the pipelines combine two predictions: "plain" as `GuidedPrior`, "one more"
            with a scale that is one less, "norm" with the norm of the conditional one.
        refuse: says why a configuration is not supported, or None.
        refuse_alone: the same, of a model that is not the second of two experts.
    """

    name: str
    models: tuple[str, ...]
    pipelines: tuple[str, ...] = ()
    x: str = "(batch, channels, height, width)"
    needs: tuple[str, ...] = ()
    note: str = ""
    flow: bool = False
    time: Callable[[Tensor, int, Any], Tensor] = _as_it_is
    time_in_own_dtype: bool = False
    unshifted_time: bool = False
    shift: Callable[[int, Any], float] | None = linear_shift
    sign: float = 1.0
    layout: Layout = PICTURES
    channel_axis: int = 1
    channels: Callable[[Any, Layout], Channels] = own_channels
    lone: tuple[str, ...] = ("encoder_hidden_states", "class_labels")
    derived: Rule = _nothing
    supplied: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    embedded: Callable[[float, ModelInput], dict[str, Any]] | None = None
    guidance: Guidance = "plain"
    refuse: Callable[[Any], str | None] = _accept
    refuse_alone: Callable[[Any], str | None] = _accept


def thousandth(timestep: Tensor, steps: int, config: Any) -> Tensor:
    """Returns the time of models that multiply it with 1000 themselves."""
    return timestep / 1000


def reversed_fraction(timestep: Tensor, steps: int, config: Any) -> Tensor:
    """Returns the time of models for which 1 is the data."""
    return 1 - timestep / steps


def grid_ids(height: int, width: int, device: torch.device) -> Tensor:
    """Returns the positions (0, row, column) of a grid of tokens, (height * width, 3)."""
    rows = torch.arange(height, device=device, dtype=torch.float32)
    columns = torch.arange(width, device=device, dtype=torch.float32)
    grid = torch.cartesian_prod(torch.zeros(1, device=device), rows, columns)
    return grid.reshape(-1, 3)
