"""How the models of diffusers are called."""

import inspect
from typing import Any, Literal

import torch
from torch import Tensor, nn

from scoreregs.errors import ArgumentError
from scoreregs.trees import Condition

__all__ = ["LearnedVariance", "ModelCall"]

LearnedVariance = Literal["refuse", "drop"]

# What a condition that is a lone tensor is given as; the first that a model has.
_CONDITION_NAMES = ("encoder_hidden_states", "class_labels")


class ModelCall(nn.Module):
    """A diffusers model as a function of (x_t, timestep, condition) that returns a tensor.

    Args:
        model: the model.
        learned_variance: what to do with a second half of output channels.
        autocast: the dtype of the autocast around the model, or None for none.
        sign: multiplies the output.

    Raises:
        ArgumentError: for a model without a `timestep`, or with a variance that is refused.
    """

    def __init__(
        self,
        model: nn.Module,
        learned_variance: LearnedVariance,
        autocast: torch.dtype | None,
        sign: float,
    ) -> None:
        super().__init__()
        parameters = inspect.signature(model.forward).parameters
        if "timestep" not in parameters:
            raise ArgumentError(
                f"got a model of type {type(model).__name__} without a `timestep` argument, "
                "expected a diffusion model of diffusers: for another, write "
                "scoreregs.NetworkPrior(network, schedule, prediction, time_map)"
            )
        self.model = model
        self._autocast = autocast
        self._sign = sign
        self._doubled = _has_variance(model)
        if self._doubled and learned_variance == "refuse":
            raise ArgumentError(
                f"got a {type(model).__name__} that returns a learned variance (twice as many "
                'channels out as in), expected predictions alone: pass learned_variance="drop" to '
                "cut its second half, which Eq. 15 does not use"
            )
        first, *rest = parameters.values()
        self._first = first.name
        arguments = [p for p in rest if p.name not in ("timestep", "return_dict")]
        self._names = [p.name for p in arguments if p.kind is not p.VAR_KEYWORD]
        self._required = [p.name for p in arguments if p.default is p.empty]

    def forward(self, x_t: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Returns the model's prediction, in whatever dtype it comes."""
        arguments = self._arguments(condition)
        arguments[self._first] = x_t
        enabled = self._autocast is not None
        with torch.autocast(x_t.device.type, self._autocast, enabled=enabled):
            output = self.model(timestep=timestep, return_dict=False, **arguments)[0]
        if self._doubled:
            output = output.chunk(2, dim=1)[0]
        return output if self._sign == 1 else self._sign * output

    def _arguments(self, condition: Condition) -> dict[str, Any]:
        name = type(self.model).__name__
        arguments: dict[str, Any] = {}
        if isinstance(condition, Tensor):
            found = [n for n in _CONDITION_NAMES if n in self._names]
            if not found:
                raise ArgumentError(
                    f"got a condition for {name}, expected a dict of its arguments "
                    f"({', '.join(self._names)}): it has none of {', '.join(_CONDITION_NAMES)}"
                )
            arguments = {found[0]: condition}
        elif isinstance(condition, dict):
            arguments = dict(condition)
        elif condition is not None:
            raise ArgumentError(
                f"got a condition of type {type(condition).__name__}, expected None, a tensor or "
                f"a dict of {name}'s arguments: {', '.join(self._names)}"
            )
        unknown = arguments.keys() - set(self._names)
        missing = set(self._required) - arguments.keys()
        if unknown or missing:
            raise ArgumentError(
                f"got a condition with {', '.join(sorted(arguments)) or 'nothing'} for {name}, "
                f"expected {', '.join(self._required) or 'none'} of {', '.join(self._names)}"
            )
        return arguments


def _has_variance(model: nn.Module) -> bool:
    config: Any = getattr(model, "config", {})
    channels = config.get("in_channels"), config.get("out_channels")
    return None not in channels and channels[1] == 2 * channels[0]
