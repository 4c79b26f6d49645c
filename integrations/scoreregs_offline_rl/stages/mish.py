"""Mish with one exponential: beside its matrices, the dearest part of the behavior network."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from typing_extensions import override

__all__ = ["Mish", "mish"]

# From here on tanh(softplus(x)) rounds to 1, in float64 too, and e^(2x) is far from overflow.
_LINEAR_FROM = 20.0


def mish(x: Tensor) -> Tensor:
    r"""Returns x tanh(softplus(x)), element by element.

    It is computed by way of

    $$ \tanh(\log(1 + e^x)) = \frac{n}{n + 2}, \qquad n = e^x (e^x + 2). $$

    Args:
        x: any shape, floating point.

    References:
        Misra, Mish: A Self Regularized Non-Monotonic Activation Function, BMVC 2020.

    Example:
        >>> mish(torch.tensor([-1.0, 0.0, 30.0]))
        tensor([-0.3034,  0.0000, 30.0000])
    """
    return _MishFunction.apply(x)


@final
class Mish(nn.Module):
    """`mish` as a module."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Returns x tanh(softplus(x))."""
        return mish(x)


class _MishFunction(torch.autograd.Function):
    """Keeps x and the tanh, from which the backward pass needs one sigmoid more.

    Buffers are used again: at these sizes, fresh pages of memory cost as much as the arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        exponential = wide.clamp(max=_LINEAR_FROM).exp_()
        numerator = (exponential + 2).mul_(exponential)
        denominator = torch.add(numerator, 2, out=exponential)
        tanh = numerator.div_(denominator).to(x.dtype)
        ctx.save_for_backward(x, tanh)
        return torch.mul(x, tanh, out=denominator.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> Tensor:
        x, tanh = ctx.saved_tensors
        slope = tanh.square().neg_().add_(1).mul_(torch.sigmoid(x)).mul_(x).add_(tanh)
        return slope.mul_(gradients[0])
