"""How the models of diffusers are called."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from scoreregs.discovery import dtypes_of
from scoreregs.errors import ArgumentError
from scoreregs.trees import Condition, map_tensors, shapes
from scoreregs_diffusers.channels import EXTRA, LearnedVariance, ModelChannels
from scoreregs_diffusers.families import Family, ModelInput, family_of

__all__ = ["ModelCall", "inner_model", "is_distilled"]


# What a model raises, or its embedding or convolution, over inputs that do not fit it.
_OF_ARGUMENTS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


class ModelCall:
    """A diffusers model as a function of (x_t, timestep, condition) that returns a prediction.

    Args:
        model: the model.
        scheduler: its scheduler, which says whether a variance is learned.
        learned_variance: what to do with a second half of output channels.
        autocast: the dtype of the autocast around the model, or None for none.
        guidance: the scale that a guidance-distilled model embeds.
        arguments: further arguments of the model, the same for every row.
        refiner: whether a model of low noise alone is welcome.

    Raises:
        ArgumentError: for a model that is not supported, or options that do not fit it.
    """

    def __init__(
        self,
        model: nn.Module,
        scheduler: Any,
        learned_variance: LearnedVariance,
        autocast: torch.dtype | None,
        guidance: float | None,
        arguments: dict[str, Any],
        refiner: bool = False,
    ) -> None:
        self.model = model
        self._inner: Any = inner_model(model)
        self._name = type(self._inner).__name__
        # The dtypes of its parameters when it was last asked for its own, and its answer.
        self._of_parameters: tuple[tuple[torch.dtype, int], ...] | None = None
        self._own_dtype: object = None
        self.family: Family = family_of(self._inner, refiner)
        self._autocast = autocast
        self._guidance = guidance
        self._fixed = arguments
        self._read_signature()
        self._steps: int = scheduler.config.num_train_timesteps
        self._config: Any = getattr(self._inner, "config", {})
        self._channels = ModelChannels.read(
            self.family, self._name, self._config, scheduler, learned_variance
        )
        unknown = arguments.keys() - set(self._names)
        if unknown:
            raise ArgumentError(
                f"got arguments with {', '.join(sorted(unknown))} for {self._name}, expected some "
                f"of {', '.join(self._names)}"
            )
        self._check_guidance()

    @property
    def channels(self) -> ModelChannels:
        """How many channels it denoises, takes beside them, and returns."""
        return self._channels

    def _read_signature(self) -> None:
        parameters = inspect.signature(self._inner.forward).parameters
        if "timestep" not in parameters:
            raise ArgumentError(
                f"got a model of type {self._name} without a `timestep` argument, expected a "
                "diffusion model of diffusers: for another, write "
                "scoreregs.NetworkPrior(network, schedule, prediction, time_map)"
            )
        first, *rest = parameters.values()
        self._first = first.name
        self._returns_dict = "return_dict" in parameters
        arguments = [p for p in rest if p.name not in ("timestep", "return_dict")]
        self._names = [p.name for p in arguments if p.kind is not p.VAR_KEYWORD]
        required = [p.name for p in arguments if p.default is p.empty]
        wanted = [*required, *self.family.needs]
        known = {*self._fixed, *self.family.supplied, *self.family.shared}
        self._required = [name for name in dict.fromkeys(wanted) if name not in known]

    def _check_guidance(self) -> None:
        embeds = is_distilled(self._config) and self.family.embedded is not None
        if embeds and self._guidance is None:
            raise ArgumentError(
                f"got a {self._name} that embeds its guidance scale (a distilled model) without "
                "one, expected guidance=, for instance DiffusersPrior(model, scheduler, "
                "guidance=3.5)"
            )
        if self._guidance is not None and not embeds:
            raise ArgumentError(
                f"got guidance={self._guidance} for a {self._name} that embeds no guidance scale, "
                "expected None: guide it with prior.guided(scale, null)"
            )

    def __call__(self, x_t: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Returns the model's prediction, in whatever dtype it comes."""
        dtype = self._dtype(x_t)
        # Some models view their arguments, which fails for rows that were expanded.
        given = map_tensors(
            lambda c: (c.to(dtype) if c.is_floating_point() else c).contiguous(),
            self._arguments(condition),
        )
        arguments: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
        x = self._channels.join(x_t.to(dtype), arguments.pop(EXTRA, None))
        time = self.family.time(timestep, self._steps, self._config)
        if self.family.time_in_own_dtype:
            time = time.to(dtype)
        elif time.is_floating_point():
            time = time.to(torch.promote_types(dtype, torch.float32))
        try:
            output = self._output(x, time, arguments)
        # Those alone that models raise over what they are given: no subclass, as of memory.
        except _OF_ARGUMENTS as error:
            if type(error) not in _OF_ARGUMENTS:
                raise
            raise self._misfit(x_t, condition, error) from error
        output = self._channels.cut(output)
        return output if self.family.sign == 1 else self.family.sign * output

    def _output(self, x: Tensor, time: Tensor, given: dict[str, Any]) -> Tensor:
        """Returns the model's output, shaped as x but for its channels."""
        packed = self.family.layout.pack(x)
        inputs = ModelInput(self._config, x, packed, {**given, **self._fixed})
        arguments = {**given, **self._derived(inputs), **self._fixed, self._first: packed}
        if self._returns_dict:
            arguments["return_dict"] = False
        enabled = self._autocast is not None
        with torch.autocast(x.device.type, self._autocast, enabled=enabled):
            output = self.model(timestep=time, **arguments)
        if not isinstance(output, Tensor):
            output = output["sample"] if type(output) is dict else output[0]
        return self.family.layout.unpack(output, x)

    def _misfit(self, x_t: Tensor, condition: Condition, error: Exception) -> ArgumentError:
        pipelines = " or ".join(self.family.pipelines) or "its own pipeline"
        return ArgumentError(
            f"got x of shape {tuple(x_t.shape)} and the condition {shapes(condition)} for a "
            f"{self._name}, which raised {type(error).__name__}: {error}; expected what "
            f"{pipelines} hands it beside the time, batch first"
        )

    def _derived(self, inputs: ModelInput) -> dict[str, Any]:
        derived = self.family.derived(inputs)
        if self._guidance is not None and self.family.embedded is not None:
            derived = {**derived, **self.family.embedded(self._guidance, inputs)}
        return derived

    def _dtype(self, x_t: Tensor) -> torch.dtype:
        """Returns the dtype that a pipeline would call the model in, whatever parts of it are in.

        Models of diffusers keep some modules in float32 or in an eighth of a word; their `dtype`
        is that of the rest.
        """
        of_parameters = dtypes_of(self._inner)
        if of_parameters != self._of_parameters:
            # Its search takes long, a hundredth of a small model's step.
            self._own_dtype = getattr(self._inner, "dtype", None)
            self._of_parameters = of_parameters
        dtype = self._own_dtype
        if not isinstance(dtype, torch.dtype):
            dtype = of_parameters[0][0] if of_parameters else x_t.dtype
        return dtype if dtype.is_floating_point else x_t.dtype

    def _arguments(self, condition: Condition) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        if isinstance(condition, Tensor):
            arguments = {self._lone(): condition}
        elif isinstance(condition, dict):
            arguments = dict(condition)
        elif condition is not None:
            raise ArgumentError(
                f"got a condition of type {type(condition).__name__}, expected None, a tensor or "
                f"a dict of {self._name}'s arguments: {', '.join(self._names)}"
            )
        shared = sorted(arguments.keys() & set(self.family.shared))
        if shared:
            raise ArgumentError(
                f"got {', '.join(shared)} in the condition of {self._name}, which takes it once "
                "for all rows: it follows from x of shape (batch, channels, height, width); for "
                f"packed latents give DiffusersPrior arguments={{{shared[0]!r}: ...}}"
            )
        names = [*self._names, EXTRA]
        unknown = arguments.keys() - set(names)
        missing = [name for name in self._required if name not in arguments]
        if unknown or missing:
            raise ArgumentError(
                f"got a condition with {', '.join(sorted(arguments)) or 'nothing'} for "
                f"{self._name}, expected {', '.join(self._required) or 'none'} of "
                f"{', '.join(self._names)}"
            )
        return arguments

    def _lone(self) -> str:
        found = [name for name in self.family.lone if name in self._names]
        if not found:
            raise ArgumentError(
                f"got a condition for {self._name}, expected a dict of its arguments "
                f"({', '.join(self._names)}): it has none of {', '.join(self.family.lone)}"
            )
        return found[0]


def inner_model(model: Any) -> Any:
    """Returns the model within what wraps it.

    That are torch.compile's, data-parallel and averaging wrappers, the engines of trainers, and
    PEFT's model with adapters.
    """
    while True:
        wrapped = getattr(model, "_orig_mod", None)
        if wrapped is None and "timestep" not in inspect.signature(model.forward).parameters:
            wrapped = getattr(model, "module", None)
            if wrapped is None and hasattr(model, "get_base_model"):
                wrapped = model.get_base_model()
        if not isinstance(wrapped, nn.Module):
            return model
        model = wrapped


def is_distilled(config: Any) -> bool:
    """Returns whether a model embeds a guidance scale."""
    return bool(config.get("guidance_embeds")) or config.get("time_cond_proj_dim") is not None
