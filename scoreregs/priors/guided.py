"""Classifier-free guidance."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.predictions import expand
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.schedules import NoiseLevel
from scoreregs.trees import Condition, check_condition, concatenate, repeat_rows

__all__ = ["Coefficient", "GuidedPrior", "check_coefficient", "check_null", "coefficient_at"]

Coefficient = float | Callable[[NoiseLevel], Tensor]


@named_calls
class GuidedPrior(ScorePrior):
    r"""A conditional prior led by the difference to its null condition.

    $$ \hat\epsilon = \hat\epsilon(x_t \mid \varnothing)
       + s\, \big( \hat\epsilon(x_t \mid c) - \hat\epsilon(x_t \mid \varnothing) \big) $$

    A scale of 1 is the conditional prediction, 0 the unconditional one. (Where the formula adds to
    the conditional prediction instead, its scale is s - 1.) Both come from one call on a doubled
    batch, and are combined as the network predicts them.

    Args:
        prior: the conditional prior.
        scale: s, a number or a function of the `NoiseLevel` that returns (batch,).
        null: the null condition, of the condition's structure with a batch of 1 or of the
            condition's; a negative condition in its place is negative guidance.

    Raises:
        ArgumentError: without a null condition; when called, without a condition or with one of
            another structure.

    References:
        Ho and Salimans, Classifier-Free Diffusion Guidance, 2022 (their w is s - 1).

    Example:
        >>> from scoreregs import NetworkPrior, VPSchedule
        >>> prior = NetworkPrior(lambda x_t, t, condition: condition, VPSchedule())
        >>> guided = GuidedPrior(prior, scale=3.0, null=torch.zeros(1, 2))
        >>> guided.epsilon(torch.ones(1, 2), 0.5, torch.tensor([[1.0, 2.0]]))
        tensor([[3., 6.]])
    """

    def __init__(self, prior: ScorePrior, scale: Coefficient, null: Condition) -> None:
        check_prior_type(prior)
        check_coefficient("scale", scale)
        super().__init__(prior.schedule, prior.prediction)
        check_null("null", null)
        self._prior = prior
        self._scale = scale
        self._null = null

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        if condition is None:
            raise ArgumentError(
                "got no condition to guide towards, expected one: call the objective with it, or "
                "use the prior without guidance"
            )
        level = self.schedule.at(t)
        both = self._prior.checked_predict(
            torch.cat([x_t, x_t]),
            self.schedule.at(torch.cat([t, t])),
            concatenate([repeat_rows(self._null, len(x_t)), condition]),
        )
        away, towards = both.chunk(2)
        return torch.lerp(away, towards, expand(coefficient_at(self._scale, level), x_t))


def check_null(name: str, condition: Condition) -> None:
    """Raises `ArgumentError` for a null or negative condition that is none."""
    if condition is None:
        raise ArgumentError(
            f"got no {name} condition, expected what the prior was trained with where its "
            "condition was dropped: a null label or an empty prompt's embedding, batch of 1"
        )
    check_condition(condition)


def check_coefficient(name: str, coefficient: object) -> None:
    """Raises `ArgumentError` unless a coefficient is a number or a function."""
    if not callable(coefficient) or isinstance(coefficient, type):
        check_numbers(**{name: coefficient})
        if not math.isfinite(coefficient):  # pyright: ignore[reportArgumentType]
            raise ArgumentError(f"got {name}={coefficient!r}, expected a finite number")


def coefficient_at(coefficient: Coefficient, level: NoiseLevel) -> Tensor:
    """Returns a coefficient at a noise level, (batch,).

    Raises:
        ArgumentError: where its function returns anything but a tensor of that shape.
    """
    if not callable(coefficient):
        return torch.full_like(level.t, coefficient)
    value = coefficient(level)
    if not isinstance(value, Tensor) or value.shape != level.t.shape:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ArgumentError(
            f"got {got} from a coefficient, expected a tensor of shape {tuple(level.t.shape)}: "
            "return one number for each time, for instance `2 * level.sigma`"
        )
    return value
