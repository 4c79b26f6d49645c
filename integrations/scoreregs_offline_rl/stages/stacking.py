"""Several networks of one shape as one network, whose parameters have a leading axis of members.

A stacked network maps (members, batch, ...) to (members, batch, ...): one batched product of
matrices in place of a loop over members. Optimisers work element by element, so that a step of all
members is the step of each.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar, cast, final

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from typing_extensions import override

from scoreregs import ScorePrior
from scoreregs.errors import ArgumentError
from scoreregs.trees import Condition, map_tensors
from scoreregs_offline_rl.stages.value import Value

__all__ = ["StackedPrior", "StackedValue", "by_member", "share", "stack"]

M = TypeVar("M", bound=nn.Module)


@final
class _Linear(nn.Module):
    """x W^T + b of each member."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


@final
class _LayerNorm(nn.Module):
    """Layer normalisation with a scale and a shift of each member."""

    def __init__(self, weight: Tensor, bias: Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(weight), nn.Parameter(bias), eps

    @override
    def forward(self, x: Tensor) -> Tensor:
        normal = F.layer_norm(x, x.shape[-1:], eps=self.eps)
        return torch.addcmul(self.bias[:, None], normal, self.weight[:, None])


def stack(modules: Sequence[M]) -> M:
    """Returns one module of the same class that holds the parameters of all; they are copied.

    Linear layers, layer normalisations and buffers are stacked; their names stay.

    Args:
        modules: at least one, of equal structure and sizes.

    Raises:
        ArgumentError: they are not alike, or hold parameters in other layers.

    Example:
        >>> members = [nn.Linear(3, 2) for _ in range(5)]
        >>> stack(members)(torch.zeros(5, 7, 3)).shape
        torch.Size([5, 7, 2])
    """
    kinds = {type(module) for module in modules}
    shapes = [{name: value.shape for name, value in m.state_dict().items()} for m in modules]
    if len(kinds) != 1 or any(found != shapes[0] for found in shapes):
        raise ArgumentError(
            f"got {len(modules)} modules to stack, of {len(kinds)} classes, expected at least one, "
            "all of one class and size: build them from one configuration"
        )
    first = modules[0]
    layer = isinstance(first, (nn.Linear, nn.LayerNorm)) and shapes[0]
    return cast(M, _stack_layer(modules) if layer else _stack_inside(modules))


@torch.no_grad()
def share(stacked: nn.Module, members: Sequence[nn.Module]) -> None:
    """Makes the members' weights views of a stacked module's: what it learns they know at once.

    Args:
        stacked: of `stack`, on whatever device.
        members: modules like those that were stacked, in their order.

    Example:
        >>> members = [nn.Linear(3, 2) for _ in range(5)]
        >>> stacked = stack(members)
        >>> share(stacked, members)
        >>> _ = stacked.get_parameter("bias").data.fill_(7.0)
        >>> members[4].bias.tolist()
        [7.0, 7.0]
    """
    own = [dict(member.state_dict(keep_vars=True)) for member in members]
    for name, values in stacked.state_dict().items():
        for names, value in zip(own, values, strict=True):
            names[name].data = value


def by_member(function: Callable[..., Tensor], members: Sequence[int]) -> Callable[..., Tensor]:
    """Returns a function of flat batches (members * batch, ...) from one of (*members, batch, ...).

    Example:
        >>> weight = torch.tensor([1.0, 2.0])[:, None, None]
        >>> by_member(lambda x: weight * x, [2])(torch.ones(4, 1)).flatten()
        tensor([1., 1., 2., 2.])
    """
    # Not a closure: priors look into it for the network's modules.
    return partial(_call_by_member, function, tuple(members))


def _call_by_member(
    function: Callable[..., Tensor], members: tuple[int, ...], *tensors: Tensor
) -> Tensor:
    result = function(*(tensor.unflatten(0, (*members, -1)) for tensor in tensors))
    return result.flatten(0, len(members))


@final
class StackedValue(Value):
    """A value of stacked seeds, for tensors of all their members, seeds first.

    It takes flat batches, (seeds * rows, ...), and stacked ones, (members, batch, ...).

    Args:
        value: of (seeds, rows, ...).
        seeds: how many.
    """

    def __init__(self, value: Value, seeds: int) -> None:
        self._value, self._seeds = value, seeds

    @override
    def q(self, action: Tensor, observation: Tensor) -> Tensor:
        return self._call(self._value.q, action, observation)

    @override
    def v(self, observation: Tensor) -> Tensor:
        return self._call(self._value.v, observation)

    @override
    def advantage(self, action: Tensor, observation: Tensor) -> Tensor:
        return self._call(self._value.advantage, action, observation)

    def _call(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        found = function(*(x.reshape(self._seeds, -1, x.shape[-1]) for x in tensors))
        return found.reshape(tensors[0].shape[:-1])


@final
class StackedPrior(ScorePrior):
    """A prior of stacked seeds, for flat batches of all their members, draws first, then seeds.

    Args:
        prior: of (seeds, rows, ...).
        seeds: how many.
        draws: how many draws of all rows come one after the other.
    """

    def __init__(self, prior: ScorePrior, seeds: int, draws: int = 1) -> None:
        super().__init__(prior.schedule, prior.prediction)
        self.prior, self._seeds, self._draws = prior, seeds, draws

    def of_draws(self, draws: int) -> "StackedPrior":
        """Returns the same prior for an objective of several draws."""
        return StackedPrior(self.prior, self._seeds, draws)

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        size = {"d": self._draws, "s": self._seeds}

        def by_seed(rows: Tensor) -> Tensor:
            return rearrange(rows, "(d s n) ... -> s (d n) ...", **size)

        found = self.prior.predict(by_seed(x_t), by_seed(t), map_tensors(by_seed, condition))
        return rearrange(found, "s (d n) ... -> (d s n) ...", **size)


def _stack_layer(layers: Sequence[nn.Module]) -> nn.Module:
    first = layers[0]
    values = [layer.state_dict() for layer in layers]
    if set(values[0]) != {"weight", "bias"}:
        raise ArgumentError(
            f"got a {type(first).__name__} with {sorted(values[0])} to stack, expected one with "
            "weight and bias"
        )
    weight, bias = (torch.stack([value[name] for value in values]) for name in ("weight", "bias"))
    norm = isinstance(first, nn.LayerNorm)
    stacked = _LayerNorm(weight, bias, first.eps) if norm else _Linear(weight, bias)
    trained = any(parameter.requires_grad for parameter in first.parameters())
    return stacked.train(first.training).requires_grad_(trained)


def _stack_inside(modules: Sequence[nn.Module]) -> nn.Module:
    first = modules[0]
    if own := [name for name, _ in first.named_parameters(recurse=False)]:
        raise ArgumentError(
            f"got the parameters {own} of a {type(first).__name__} to stack, expected linear "
            "layers and layer normalisations alone"
        )
    # Shallow, as what is not a module is shared by the members: configurations, time samplers.
    stacked = copy.copy(first)
    stacked._buffers, stacked._modules = dict(first._buffers), dict(first._modules)
    for name, buffer in first.named_buffers(recurse=False):
        if buffer is not None:
            stacked._buffers[name] = torch.stack([module.get_buffer(name) for module in modules])
    for name, _ in first.named_children():
        stacked._modules[name] = stack([module.get_submodule(name) for module in modules])
    return stacked
