"""Marks of a log whose rows are states, with one more of them than steps, read as steps."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreregs_offline_rl.data.transitions import Transitions

__all__ = ["find_states"]

# Of fewer trajectories, and of shorter ones, it is no wonder that they are alike.
_TRAJECTORIES, _STEPS = 2, 2
_REMEDY = (
    "nothing is bootstrapped there. If they were only cut, or a row is a state and the last one's "
    "action was never taken, as in OGBench, read the file with --loading.layout states"
)


def find_states(data: Transitions) -> str | None:
    """Returns what is wrong where `terminals` mark last states, and how to read the file.

    It can be told where what followed the last rows is not recorded, and all trajectories end for
    good: after the same number of rows, or in an action that is a filler, the same everywhere or
    that of the row before; or where each is followed by one of a single row, its last state, since
    its steps were counted.

    Args:
        data: not scaled.
    """
    last = data.ends.nonzero().flatten()
    closed = data.trajectory_terminal | ~data.trajectory_complete
    lengths, terminal = data.trajectory_lengths, data.trajectory_terminal
    if _counted(lengths, terminal):
        return (
            f"all trajectories have {int(lengths[0])} rows and are followed by one of a single row "
            f"that ends for good, as if a last state were a step of its own: {_REMEDY}, where "
            "nothing is counted"
        )
    last = last[data.terminals[last]]
    several = int(terminal.sum()) >= _TRAJECTORIES and int(lengths.max()) > _STEPS
    if not (several and bool(closed.all())) or not _follows_nothing(data, last):
        return None
    alike = lengths[terminal].unique()
    if len(alike) == 1:
        return f"all {len(last)} trajectories end for good after {int(alike)} rows: {_REMEDY}"
    if (what := _filler(data, last)) is not None:
        return f"all {len(last)} trajectories end for good in an action that is {what}: {_REMEDY}"
    return None


def _counted(lengths: Tensor, terminal: Tensor) -> bool:
    """Whether every second trajectory is a single row that a limit on steps has left over."""
    pairs = len(lengths) // 2
    if pairs < _TRAJECTORIES:
        return False
    first, second = lengths[0 : 2 * pairs : 2], lengths[1 : 2 * pairs : 2]
    apart = bool((first == first[0]).all()) and int(first[0]) > _STEPS and bool((second == 1).all())
    marks = terminal[: 2 * pairs]
    return apart and not bool(marks[0::2].any()) and bool(marks[1::2].all())


def _follows_nothing(data: Transitions, rows: Tensor) -> bool:
    """Whether what followed these rows is not recorded, but the row itself or the next one is."""
    following = data.next_observations[rows]
    after = data.observations[(rows + 1).clamp(max=len(data) - 1)]
    itself = (following == data.observations[rows]).all(dim=1)
    return bool((itself | (following == after).all(dim=1)).all())


def _filler(data: Transitions, last: Tensor) -> str | None:
    """Returns what the actions of these rows all are, if they are no such as others."""
    inside = torch.ones(len(data), dtype=torch.bool)
    inside[last] = False
    ended, before = data.actions[last], data.actions[(last - 1).clamp_min(0)]
    others = data.actions[inside]
    if bool((ended == ended[0]).all()) and not bool((others == ended[0]).all(1).any()):
        return "the same, and no other is"
    repeated = (others[1:] == others[:-1]).all(dim=1)
    if bool((ended == before).all()) and int(2 * repeated.sum()) < len(repeated):
        return "that of the row before"
    return None
