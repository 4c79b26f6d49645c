"""Bounds of actions where no environment names them: those of the data, if they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs_offline_rl.data.scaling import MISTAKES
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError

__all__ = ["OutlyingActions", "action_bounds_of", "outlying_actions"]

# How far beyond the others, in their own range, an action is no action but a mistake.
_REACH = 2.0
_FEWEST = 20


@dataclass(frozen=True, eq=False)
class OutlyingActions:
    """A few actions that set the range of all.

    Attributes:
        row: the first that lies far beyond the others, as `Transitions.recorded_row` counts.
        count: how many do.
        value: the action of the first of them.
        low: shape (a,), the smallest of the others.
        high: shape (a,), the largest of the others.
        share: of these rows in all.
    """

    row: int
    count: int
    value: list[float]
    low: Tensor
    high: Tensor
    share: float

    def __str__(self) -> str:
        """Returns what was got, and the bounds to give."""
        low, high = (" ".join(f"{x:.9g}" for x in _outward(self, side)) for side in ("low", "high"))
        several = f", one of {self.count} like it," if self.count > 1 else ""
        # Among fewer rows, actions beyond the bounds that are given are refused.
        give = f"give --action-low {low} --action-high {high}, or " * (self.share <= MISTAKES)
        return (
            f"the action {_short(self.value)} of row {self.row}{several} lies far beyond all "
            f"others, which lie within {low} and {high}: {give}leave it out of the data"
        )


def outlying_actions(data: Transitions) -> OutlyingActions | None:
    """Returns the few actions that lie far beyond all others; None where there are none.

    Few are at most two, or one in a thousand, on each side; far is twice the range of the others.

    Args:
        data: in the environment's units.
    """
    actions = data.actions
    count = len(actions)
    if count < _FEWEST:
        return None
    few = max(2, count // 1000)
    ordered = actions.double().sort(dim=0).values
    low, high = ordered[few], ordered[-few - 1]
    # Where nearly all rows hold one number, as of a gripper that seldom moves, none is an outlier.
    reach = torch.where(high > low, _REACH * (high - low), torch.inf)
    far = ((actions < low - reach) | (actions > high + reach)).any(dim=1)
    if not far.any():
        return None
    first, number, others = int(far.int().argmax()), int(far.sum()), actions[~far]
    return OutlyingActions(
        data.recorded_row(first),
        number,
        actions[first].tolist(),
        others.amin(0),
        others.amax(0),
        number / count,
    )


def action_bounds_of(data: Transitions) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the lowest and highest actions in the data.

    Args:
        data: in the environment's units.

    Raises:
        DataError: where an action never changes, or a few lie far beyond all others.
    """
    low, high = data.actions.amin(0), data.actions.amax(0)
    constant = (low == high).nonzero().flatten()
    if len(constant):
        raise DataError(
            f"got {float(low[constant[0]]):g} in every row of column {int(constant[0])}, expected "
            "actions that change, to take their bounds from",
            source=data.source,
            key="actions",
            remedy="give --action-low and --action-high",
        )
    if (found := outlying_actions(data)) is not None:
        raise DataError(
            f"got a few actions that would set the range of all: {found}",
            source=data.source,
            key="actions",
            row=found.row,
        )
    return tuple(low.tolist()), tuple(high.tolist())


def _outward(found: OutlyingActions, side: str) -> list[float]:
    """A side's bounds in six digits, rounded so that the others stay within."""
    rounded = []
    for value in getattr(found, side).double().tolist():
        short = float(f"{value:.6g}")
        inside = short > value if side == "low" else short < value
        rounded.append(value if inside else short)
    return rounded


def _short(value: list[float]) -> str:
    return f"{value[0]:g}" if len(value) == 1 else str([float(f"{x:.4g}") for x in value])
