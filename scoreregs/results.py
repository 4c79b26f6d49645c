"""What an objective returns."""

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Self, override

from scoreregs.reprs import short

__all__ = ["Diagnostics", "ObjectiveResult", "mean_of"]

_PARTS = 5


@dataclass(frozen=True, repr=False)
class Diagnostics:
    """What the two forces on x do; every tensor is detached and on x's device.

    Attributes:
        value_gradient_norm: L2 norm of the value's gradient, (batch,), or None without a value.
        prior_gradient_norm: L2 norm of the expected weighted residual, (batch,), or None where beta
            is infinite.
        cosine: cosine between the value's gradient and minus the residual, (batch,): 1 where both
            pull x the same way, -1 where they are opposed; None where one of them is.
        t: the times, (draws, batch), or None where beta is infinite.
        residual_norm: L2 norm of each draw's weighted residual, (draws, batch); with `t`, the
            residual by time.
    """

    value_gradient_norm: Tensor | None
    prior_gradient_norm: Tensor | None
    cosine: Tensor | None
    t: Tensor | None
    residual_norm: Tensor | None

    @override
    def __repr__(self) -> str:
        figures = {
            "value_gradient_norm": mean_of(self.value_gradient_norm),
            "prior_gradient_norm": mean_of(self.prior_gradient_norm),
            "cosine": mean_of(self.cosine),
            "residual_norm by t": _by_time(self.t, self.residual_norm),
        }
        told = ", ".join(f"{name}={text}" for name, text in figures.items() if text)
        return f"Diagnostics({told})"

    @classmethod
    def of(
        cls, value_gradient: Tensor | None, times: Tensor | None, residuals: Tensor | None
    ) -> Self:
        """Returns the diagnostics of a value's gradient and of residuals (draws, batch, *event)."""
        value = None if value_gradient is None else value_gradient.flatten(1)
        prior = None if residuals is None else residuals.mean(0).flatten(1)
        return cls(
            value_gradient_norm=None if value is None else value.norm(dim=1),
            prior_gradient_norm=None if prior is None else prior.norm(dim=1),
            cosine=None
            if value is None or prior is None
            else torch.cosine_similarity(value, -prior, dim=1),
            t=times,
            residual_norm=None if residuals is None else residuals.flatten(2).norm(dim=2),
        )


@dataclass(frozen=True, repr=False)
class ObjectiveResult:
    r"""What an objective returns.

    Attributes:
        loss: $\sum_{\text{event}} x \cdot \mathrm{stopgrad}(\text{gradient})$, reduced over the
            batch, in float32 or more. Its gradient is what matters, its value has no meaning: watch
            `value` instead.
        gradient: minus the bracket of Eq. 15 for each sample, (batch, *event), detached; with the
            mean reduction x.grad is this over the batch size.
        value: the value of each sample, (batch,), detached, or None without a value.
        diagnostics: on request, else None.
        unmoved: the samples whose gradient was not finite and is 0 here, (batch,) of bool; None
            where none is, and it is known without a wait for the device.
    """

    loss: Tensor
    gradient: Tensor
    value: Tensor | None
    diagnostics: Diagnostics | None
    unmoved: Tensor | None = None

    @override
    def __repr__(self) -> str:
        norm = mean_of(self.gradient.flatten(1).norm(dim=1))
        told = [f"gradient={short(self.gradient)} of mean norm {norm}"]
        told += [f"value={mean_of(self.value)}"] if self.value is not None else []
        told += [repr(self.diagnostics)] if self.diagnostics is not None else []
        return f"ObjectiveResult({', '.join(told)})"


def mean_of(tensor: Tensor | None) -> str:
    """Returns a tensor's mean on part of a line; nothing for none, its shape where it has none."""
    if tensor is None:
        return ""
    try:
        return f"{tensor.detach().double().mean().item():.3g}"
    except RuntimeError:  # on the meta device, or inside a transformation
        return short(tensor)


def _by_time(t: Tensor | None, norm: Tensor | None) -> str:
    """Returns mean norms by time, in fifths of the time range."""
    if t is None or norm is None:
        return ""
    try:
        part = (t * _PARTS).floor().clamp(0, _PARTS - 1)
        found = [(k, norm[part == k]) for k in range(_PARTS)]
        told = [f"{k / _PARTS:g}-{(k + 1) / _PARTS:g}: {mean_of(n)}" for k, n in found if n.numel()]
    except RuntimeError:
        return short(norm)
    return f"{{{', '.join(told)}}}"
