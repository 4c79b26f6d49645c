"""The stages' optimisers: Adam, each step one pass over parameters, gradients and moments."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from typing_extensions import override

__all__ = ["adam", "adamw", "cosine_decay"]


def adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> Optimizer:
    """Returns Adam at a constant learning rate."""
    return _Adam(parameters, lr=learning_rate, fused=True)


def adamw(
    parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> Optimizer:
    """Returns AdamW at a constant learning rate."""
    return _AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def cosine_decay(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Returns a cosine decay of the learning rate to zero over `steps`."""
    return CosineAnnealingLR(optimizer, T_max=steps)


class _OnePass(Optimizer):
    """PyTorch's fused Adam without what it does anew in each step: the same numbers and state.

    Its lists are made once for each set of parameters that have gradients, and the parameters'
    counts of steps are views of one tensor, so that counting is one operation.
    """

    _update: Callable[..., None]

    def __init__(self, parameters: Iterable[nn.Parameter], **settings: Any) -> None:
        super().__init__(parameters, **settings)
        # PyTorch's own step unscales gradients; here a scaler does, and skips where one overflowed.
        self._step_supports_amp_scaling = False

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.__dict__.pop("_lists", None)
        # Now, not at the next step: what a graph writes to is looked up before it is captured.
        for group in self.param_groups:
            states = [self.state[parameter] for parameter in group["params"]]
            if any(states):
                _counted(group["params"], states)

    @override
    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        del closure
        lists = self.__dict__.setdefault("_lists", {})
        for index, group in enumerate(self.param_groups):
            gradients = [parameter.grad for parameter in group["params"]]
            have = (index, *(gradient is not None for gradient in gradients))
            if have not in lists:
                lists[have] = self._lists_of(group["params"], have[1:])
            parameters, firsts, seconds, counts, counted, ones = lists[have]
            if not parameters:
                continue
            counted.add_(ones)
            self._update(
                parameters,
                [gradient for gradient in gradients if gradient is not None],
                firsts,
                seconds,
                [],
                counts,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def _lists_of(self, parameters: list[Tensor], have: tuple[bool, ...]) -> tuple[Any, ...]:
        states = [self.state[parameter] for parameter in parameters]
        counted = _counted(parameters, states)
        own = [index for index, it_has in enumerate(have) if it_has]
        columns = ([states[i][name] for i in own] for name in ("exp_avg", "exp_avg_sq", "step"))
        ones = torch.tensor([float(it_has) for it_has in have]).to(counted.device)
        return [parameters[i] for i in own], *columns, counted, ones


def _counted(parameters: list[Tensor], states: list[dict[str, Tensor]]) -> Tensor:
    """Returns the counts of steps, of which those of the states are views from now on."""
    first = states[0].get("step")
    if first is not None and first._base is not None:
        return first._base
    counted = torch.zeros(len(parameters), device=parameters[0].device)
    for parameter, state, count in zip(parameters, states, counted.unbind(), strict=True):
        if "step" in state:
            count.copy_(state["step"])
        state["step"] = count
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment not in state:
                state[moment] = torch.zeros_like(parameter)
    return counted


class _Adam(_OnePass, Adam):
    _update = staticmethod(torch._fused_adam_)  # pyright: ignore[reportPrivateImportUsage]


class _AdamW(_OnePass, AdamW):
    _update = staticmethod(torch._fused_adamw_)  # pyright: ignore[reportPrivateImportUsage]
