"""Mish with one exponential: beside its matrices, the dearest part of the behavior network."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from typing_extensions import override

__all__ = ["Mish", "mish"]


def mish(x: Tensor) -> Tensor:
    r"""Returns x tanh(softplus(x)), element by element.

    It is computed by way of

    $$ \tanh(\log(1 + e^x)) = \frac{n}{2 - n}, \qquad n = s (2 - s), \quad
       s = \frac{1}{1 + e^{-x}}. $$

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
    """Keeps the slope alone. Buffers are used again: fresh pages cost as much as arithmetic."""

    @override
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        one = wide.new_ones(())
        sigmoid = torch.sigmoid(wide)
        numerator = (2 - sigmoid).mul_(sigmoid)
        learns = ctx.needs_input_grad[0]
        free = torch.empty_like(wide) if learns else sigmoid
        tanh = numerator.div_(torch.sub(2 * one, numerator, out=free))
        result = torch.mul(wide, tanh, out=free).to(x.dtype)
        if learns:
            slope = torch.addcmul(one, tanh, tanh, value=-1).mul_(sigmoid)
            ctx.save_for_backward(torch.addcmul(tanh, slope, wide, out=slope).to(x.dtype))
        return result

    @override
    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> Tensor:
        (slope,) = ctx.saved_tensors
        return slope * gradients[0]
