"""Bounds of actions where no environment names them: those of the data, if they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs_offline_rl.data.scaling import MISTAKES
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError

__all__ = ["OutlyingActions", "action_bounds_of", "outlying_actions"]

_FEWEST = 20
# Beyond a gap of so many ranges of the others, at most two or one in so many are mistakes; more of
# them, up to one in so many, are beyond a wider gap.
_REACH, _FEW = 2.0, 1000
_FAR_REACH, _MANY = 10.0, 20
# Scattered without a gap: beyond so many ranges of the middle rows, which leave out so many a side.
_SCATTERED = ((1000, 8.0), (100, 25.0))


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
        lowest: shape (a,), the smallest of all.
        highest: shape (a,), the largest of all.
    """

    row: int
    count: int
    value: list[float]
    low: Tensor
    high: Tensor
    share: float
    lowest: Tensor
    highest: Tensor

    def __str__(self) -> str:
        """Returns what was got, and the bounds to give."""
        low, high = _shown(self.low, upward=False), _shown(self.high, upward=True)
        several = f", one of {self.count} like it," if self.count > 1 else ""
        told = (
            f"the action {_short(self.value)} of row {self.row}{several} lies far beyond all "
            f"others, which lie within {low} and {high}"
        )
        every = _shown(self.lowest, upward=False), _shown(self.highest, upward=True)
        all_of_them = f"--action-low {every[0]} --action-high {every[1]}"
        if self.share <= MISTAKES:
            return (
                f"{told}: give --action-low {low} --action-high {high}, or leave it out of the "
                f"data; if it was commanded, give {all_of_them}"
            )
        # Of more rows, what lies beyond the bounds is refused.
        return (
            f"{told}: leave these rows out of the data, or, if they were commanded, give "
            f"{all_of_them}"
        )


def outlying_actions(data: Transitions) -> OutlyingActions | None:
    """Returns the few actions that lie far beyond all others; None where there are none.

    In one dimension, on one side, they lie beyond a gap in which there is nothing:

    - of twice the range of the others, where they are at most two or one row in a thousand;
    - of ten times that range, where they are at most one row in twenty;
    - or, scattered without a gap, some lie beyond eight times the range of the middle 99.8 % of
      rows, or beyond 25 times that of the middle 98 %.

    A heavy tail thins out without such a gap, and the modes of what is commanded are nearer to one
    another or all frequent.

    Args:
        data: in the environment's units.
    """
    actions = data.actions
    count = len(actions)
    if count < _FEWEST:
        return None
    far = torch.stack([_far_beyond(column) for column in actions.T], dim=1).any(dim=1)
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
        actions.amin(0),
        actions.amax(0),
    )


def _far_beyond(column: Tensor) -> Tensor:
    """Returns where a column, shape (N,), lies far beyond its others; shape (N,), bool."""
    exact, count = column.double(), len(column)
    up, many = exact.sort().values, max(2, count // _MANY)
    down = -up.flip(0)
    # What lies far below does not count for the range of those above it, and the other way round.
    above, below = _beyond_a_gap(up, up[many]), _beyond_a_gap(down, down[many])
    above, below = _beyond_a_gap(up, up[below]), _beyond_a_gap(down, down[above])
    low, high = up[below], up[count - 1 - above]
    for share, times in _SCATTERED:
        left_out = max(2, count // share)
        inner, outer = up[left_out], up[count - 1 - left_out]
        reach = outer - inner
        farthest = torch.maximum(inner - up[0], up[-1] - outer)
        if bool(_vary(reach, outer) & (farthest > times * reach)):
            low = torch.maximum(low, inner - _REACH * reach)
            high = torch.minimum(high, outer + _REACH * reach)
    return (exact < low) | (exact > high)


def _beyond_a_gap(ordered: Tensor, lowest: Tensor) -> int:
    """Returns how many of ascending values lie beyond a gap, `lowest` being the first of others."""
    few, many = (max(2, len(ordered) // share) for share in (_FEW, _MANY))
    tail = ordered[-many - 1 :]
    beyond = torch.arange(many, 0, -1, device=tail.device)
    reach = torch.where(beyond <= few, _REACH, _FAR_REACH)
    spans = tail[:-1] - lowest
    found = ((tail.diff() > reach * spans) & _vary(spans, tail[:-1])).nonzero()
    return int(beyond[found[0, 0]]) if len(found) else 0


def _vary(spans: Tensor, values: Tensor) -> Tensor:
    """Whether spans are more than rounding.

    Where nearly all rows hold one number, as of a gripper that seldom moves, none is an outlier.
    """
    return spans > 8 * torch.finfo(torch.float32).eps * values.abs()


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


def _shown(bounds: Tensor, *, upward: bool) -> str:
    """A side's bounds in six digits, rounded so that what they bound stays within."""
    return " ".join(f"{_outward(value, upward):.9g}" for value in bounds.double().tolist())


def _outward(value: float, upward: bool) -> float:
    short = float(f"{value:.6g}")
    inside = short < value if upward else short > value
    return value if inside else short


def _short(value: list[float]) -> str:
    return f"{value[0]:g}" if len(value) == 1 else str([float(f"{x:.4g}") for x in value])
