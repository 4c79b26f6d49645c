"""What in a data set may go wrong in training, each in a sentence with its remedy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from scoreregs_offline_rl.data.bounds import outlying_actions
from scoreregs_offline_rl.data.columns import held_by_float32
from scoreregs_offline_rl.data.scaling import MISTAKES, narrow_returns
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.inspection.resets import find_resets
from scoreregs_offline_rl.inspection.states import find_states

__all__ = ["find_oddities"]

_CODES = 32
_PAIRS = 10_000

Bounds = tuple[Tensor, Tensor]


def find_oddities(data: Transitions, bounds: Bounds | None) -> tuple[str, ...]:
    """Returns what may go wrong, a sentence each.

    Args:
        data: not scaled.
        bounds: lowest and highest action of the environment, where it is known.
    """
    found = [check(data) for check in _CHECKS]
    found.insert(2, _beyond(data, bounds) if bounds is not None else _outliers(data))
    return tuple(sentence for sentence in found if sentence)


def _constant_observations(data: Transitions) -> str | None:
    if constant := _constant(data.observations):
        return (
            f"{len(constant)} of {data.observations.shape[1]} observations never change "
            f"({_some(constant)}): a policy learns nothing from them"
        )
    return None


def _constant_actions(data: Transitions) -> str | None:
    if constant := _constant(data.actions):
        return (
            f"{len(constant)} of {data.actions.shape[1]} actions never change ({_some(constant)}): "
            "see that they are recorded, or leave them out"
        )
    return None


def _beyond(data: Transitions, bounds: Bounds) -> str | None:
    beyond = torch.maximum(bounds[0] - data.actions, data.actions - bounds[1]).amax(1)
    rows = int((beyond > 0).sum())
    if not rows:
        return None
    first = data.recorded_row(int((beyond > 0).int().argmax()))
    return (
        f"{rows} actions, first in row {first}, lie beyond the bounds of {data.environment}, by up "
        f"to {float(beyond.max()):.3g}: training clips roundings and refuses what is further out "
        f"in more than {MISTAKES:.1%} of rows"
    )


def _outliers(data: Transitions) -> str | None:
    found = outlying_actions(data)
    return None if found is None else str(found)


def _codes(data: Transitions) -> str | None:
    """Codes of choices, which look like numbers: 0, 1, 2, ... and nothing else."""
    columns = []
    for index, column in enumerate(data.actions.T):
        values = column.unique()
        whole = bool((values == values.round()).all() and (values >= 0).all())
        if whole and 2 <= len(values) <= _CODES and float(values.max()) < _CODES:
            columns.append(index)
    if not columns:
        return None
    return (
        f"actions {_some(columns)} take whole numbers from 0 on and nothing between: if they are "
        "codes of choices, these are discrete actions, which are not supported; a policy would "
        "choose the numbers between them"
    )


def _rounded(data: Transitions) -> str | None:
    if data.observations.dtype != torch.float64:
        return None
    lost = np.flatnonzero(~held_by_float32(data.observations.numpy())).tolist()
    if not lost:
        return None
    return (
        f"observations {_some(lost)} vary by so little beside their size that float32 cannot hold "
        "them, as a clock since 1970 does: training centres them in float64, but a policy that is "
        "given float32 cannot; take a constant off them when they are recorded and when they are "
        "used"
    )


def _returns(data: Transitions) -> str | None:
    returns = data.returns().double()
    if float(returns.max() - returns.min()) <= 1e-6 * float(returns.abs().max()):
        return "all returns are the same: give the reward scaling `none` (--rewards none)"
    return narrow_returns(returns)


def _terminal_runs(data: Transitions) -> str | None:
    both = (data.terminals[1:] & data.terminals[:-1]).nonzero().flatten()
    if not len(both) or not _goes_on(data, both):
        return None
    return (
        f"{len(both)} terminal rows follow upon a terminal row: if episodes go on there, as "
        "AntMaze's do, say so (terminals_end false)"
    )


def _goes_on(data: Transitions, rows: Tensor) -> bool:
    """Whether the row after each of these is nearer to it than one picked at random."""
    std = data.observations.double().std(0, correction=0)
    moving = std > 0
    if not moving.any():
        return False
    rows = rows[:: -(-len(rows) // _PAIRS)]
    scaled = data.observations[:, moving].double() / std[moving]
    generator = torch.Generator().manual_seed(0)
    others = torch.randint(len(data), (len(rows),), generator=generator).to(rows.device)
    step = (scaled[rows + 1] - scaled[rows]).norm(dim=1).mean()
    apart = (scaled[others] - scaled[rows]).norm(dim=1).mean()
    return bool(step < 0.5 * apart)


def _jumps(data: Transitions) -> str | None:
    inside = ~data.ends[:-1]
    jump = (data.next_observations[:-1] - data.observations[1:]).abs()
    std = data.observations.double().std(0, correction=0)
    jumps = inside & (jump > 1e-3 * std + 1e-5 * std.clamp(max=1)).any(1)
    if rows := int(jumps.sum()):
        return (
            f"in {rows} rows, first {int(jumps.int().argmax())}, the next observation is not that "
            "of the next row: a trajectory may end there without a flag"
        )
    return None


def _constant(columns: Tensor) -> list[int]:
    return (columns.amin(0) == columns.amax(0)).nonzero().flatten().tolist()


def _some(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:8]))
    return shown if len(indices) <= 8 else f"{shown}, ..."


_CHECKS: tuple[Callable[[Transitions], str | None], ...] = (
    _constant_observations,
    _constant_actions,
    _codes,
    _rounded,
    _returns,
    _terminal_runs,
    _jumps,
    find_resets,
    find_states,
)
