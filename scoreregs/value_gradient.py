"""The value's side of Eq. 15."""

from contextlib import nullcontext

import torch
from torch import Tensor

from scoreregs import validation
from scoreregs.arguments import accepts, check_function
from scoreregs.errors import ArgumentError, ValueFunctionError
from scoreregs.options import ValueFunction
from scoreregs.trees import Condition

__all__ = ["as_value", "value_and_gradient"]


def as_value(value: ValueFunction) -> ValueFunction:
    """Returns a value as a function of (x, condition), whether it takes the condition or not.

    Raises:
        ArgumentError: for what is no function of (x, condition) or of x.

    Example:
        >>> as_value(lambda x: x.sum(-1))(torch.ones(1, 2), None)
        tensor([2.])
    """
    check_function("a value", value, "(x, condition)")
    if accepts(value, 2) is not False:
        return value
    if accepts(value, 1) is False:
        raise ArgumentError(
            "got a value that takes neither (x, condition) nor (x), expected one of them: "
            "wrap it, for instance as `lambda x, condition: value(condition, x)`"
        )
    return lambda x, condition: value(x)


def value_and_gradient(
    value: ValueFunction, x: Tensor, condition: Condition
) -> tuple[Tensor, Tensor]:
    """Returns a value at a detached x, (batch,), and its gradient, (batch, *event), both detached.

    Raises:
        ArgumentError: in inference mode.
        ValueFunctionError: where the value is not (batch,) or independent of x.

    Example:
        >>> value_and_gradient(lambda x, condition: x.square().sum(-1), torch.ones(1, 2), None)
        (tensor([2.]), tensor([[2., 2.]]))
    """
    if not torch.compiler.is_compiling() and torch.is_inference_mode_enabled():
        raise ArgumentError(
            "got a call in torch.inference_mode(), where a value cannot be differentiated; "
            "expected torch.no_grad() or none"
        )
    # Enabling what is enabled takes longer than looking.
    with nullcontext() if torch.is_grad_enabled() else torch.enable_grad():
        leaf = x.detach().requires_grad_()
        values = value(leaf, condition)
        validation.check_value(values, leaf)
        (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    if gradient is None:
        raise ValueFunctionError(validation.INDEPENDENT_VALUE)
    return values.detach(), gradient
