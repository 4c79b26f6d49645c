"""Two models of one pipeline, each in its range of noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs.trees import Condition, map_tensors
from scoreregs_diffusers.calls import ModelCall

__all__ = ["Experts"]

_NAMES = ("high_noise", "low_noise")


class Experts:
    """One model, or two of which the second is called below a boundary.

    Args:
        calls: the calls of one or two models.
        boundary_ratio: the boundary, as a share of the timesteps; None for one model.
        steps: the number of the scheduler's timesteps.

    Raises:
        ArgumentError: for a boundary without a second model or beyond (0, 1), or the reverse, and
            for models that do not denoise the same x.
    """

    def __init__(
        self, calls: Sequence[ModelCall], boundary_ratio: float | None, steps: int
    ) -> None:
        if (len(calls) == 2) != (boundary_ratio is not None):
            raise ArgumentError(
                f"got {len(calls)} models with boundary_ratio={boundary_ratio}, expected "
                "low_noise_model and boundary_ratio together: the second is called below the first"
            )
        if boundary_ratio is not None and not 0 < boundary_ratio < 1:
            raise ArgumentError(
                f"got boundary_ratio={boundary_ratio}, expected a share of the timesteps in (0, 1)"
            )
        _check_alike(calls)
        self._calls = tuple(calls)
        self._boundary = None if boundary_ratio is None else boundary_ratio * steps

    def __call__(self, x: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Returns each row's prediction by the model of its timestep."""
        if self._boundary is None:
            return self._calls[0](x, timestep, condition)
        high = timestep >= self._boundary
        conditions = self._conditions(condition)
        rows = [high.nonzero()[:, 0], (~high).nonzero()[:, 0]]
        for call, chosen, own in zip(self._calls, rows, conditions, strict=True):
            if len(chosen) == len(x):
                return call(x, timestep, own)
        outputs = [
            call(x[chosen], timestep[chosen], _rows(own, chosen))
            for call, chosen, own in zip(self._calls, rows, conditions, strict=True)
        ]
        together = torch.cat([output.to(outputs[0].dtype) for output in outputs])
        return together[torch.cat(rows).argsort()]

    def _conditions(self, condition: Condition) -> tuple[Condition, Condition]:
        if isinstance(condition, dict) and condition.keys() & set(_NAMES):
            if condition.keys() != set(_NAMES):
                raise ArgumentError(
                    f"got a condition with {', '.join(condition)}, expected {' and '.join(_NAMES)}"
                )
            return condition["high_noise"], condition["low_noise"]
        return condition, condition


def _check_alike(calls: Sequence[ModelCall]) -> None:
    """Raises `ArgumentError` unless all models denoise an x of the same channels and layout."""
    first, *others = calls
    for other in others:
        for what, mine, its in (
            ("families", first.family.name, other.family.name),
            ("channels of x", first.channels.denoised, other.channels.denoised),
        ):
            if mine != its:
                raise ArgumentError(
                    f"got two experts of other {what}, {mine} as model and {its} as "
                    "low_noise_model, expected both to denoise the same x: give transformer and "
                    "transformer_2 of one pipeline"
                )


def _rows(condition: Condition, chosen: Tensor) -> Condition:
    return map_tensors(lambda leaf: leaf[chosen], condition)
