"""Which rows of a flat recording form a trajectory, which are kept, and what follows each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Trajectories", "count_timeouts", "pair_rows", "qlearning_rows"]

Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Trajectories:
    """The trajectories of a recording of N rows, in order; arrays of shape (E,) but for the first.

    Attributes:
        last: shape (N,), the last row of each trajectory.
        returns: sum of rewards as far as the first terminal row, float64.
        lengths: rows of each.
        terminal: whether it has a terminal row.
        complete: False for one that the end of the recording cut.
    """

    last: Flags
    returns: NDArray[np.float64]
    lengths: Rows
    terminal: Flags
    complete: Flags

    @classmethod
    def split(
        cls,
        rewards: NDArray[np.floating],
        terminals: Flags,
        timeouts: Flags,
        terminals_end: bool,
        unfinished: Flags | None = None,
    ) -> Trajectories:
        """Returns those split after timeouts, the last row and, if so asked, terminal rows.

        Args:
            rewards: shape (N,).
            terminals: shape (N,).
            timeouts: shape (N,).
            terminals_end: whether a terminal row ends its trajectory.
            unfinished: shape (N,); rows after which only the recording ended, beside the last row.
        """
        last = timeouts | (terminals & terminals_end)
        closed = bool(last[-1])
        last[-1] = True
        starts = _starts_after(last)
        lengths = np.diff(np.append(starts, len(last)))
        seen = np.cumsum(terminals) - terminals
        counted = seen == np.repeat(seen[starts], lengths)
        terminal = np.logical_or.reduceat(terminals, starts)
        complete = np.ones(len(starts), dtype=bool)
        complete[-1] = closed
        if unfinished is not None:
            complete &= ~np.logical_or.reduceat(unfinished, starts)
        complete |= terminal
        returns = np.add.reduceat(rewards.astype(np.float64) * counted, starts)
        return cls(last, returns, lengths, terminal, complete)


def count_timeouts(terminals: Flags, max_episode_steps: int, terminals_end: bool) -> Flags:
    """Returns the timeouts of a recording without them: every `max_episode_steps` rows.

    Args:
        terminals: shape (N,).
        max_episode_steps: of an episode, at least 1.
        terminals_end: whether an episode begins after each terminal row.

    Example:
        >>> count_timeouts(np.array([0, 1, 0, 0, 0], dtype=bool), 2, True).tolist()
        [False, True, False, True, False]
    """
    # More than all rows cut nothing, and may be more than NumPy counts.
    max_episode_steps = min(max_episode_steps, len(terminals) + 1)
    starts = _starts_after(terminals) if terminals_end else np.zeros(1, dtype=np.intp)
    lengths = np.diff(np.append(starts, len(terminals)))
    step = np.arange(len(terminals)) - np.repeat(starts, lengths)
    return step % max_episode_steps == max_episode_steps - 1


def pair_rows(terminals: Flags, last: Flags) -> tuple[Rows, Rows]:
    """Returns the rows whose next observation is recorded or never read, and those that hold it.

    A cut row, the last of a trajectory and not terminal, is left out. What follows a terminal last
    row is itself.

    Args:
        terminals: shape (N,).
        last: shape (N,), the last row of each trajectory.
    """
    kept = np.flatnonzero(terminals | ~last)
    return kept, np.where(last[kept], kept, kept + 1)


def qlearning_rows(terminals: Flags, timeouts: Flags | None, max_episode_steps: int) -> Rows:
    """Returns the rows that D4RL's `qlearning_dataset` keeps; the next row follows each of them.

    It leaves out the last row and timeouts, also terminal ones. Without timeouts it counts steps,
    and counts the first step after a terminal row as the second.

    Args:
        terminals: shape (N,).
        timeouts: shape (N,), or None.
        max_episode_steps: of an episode, read without timeouts only.
    """
    dropped = timeouts
    if dropped is None:
        dropped = np.zeros(len(terminals), dtype=bool)
        start, counted = 0, 0
        for stop in [*(np.flatnonzero(terminals) + 1).tolist(), len(terminals)]:
            dropped[start + max_episode_steps - 1 - counted : stop : max_episode_steps] = True
            start, counted = stop, int(not dropped[stop - 1])
    return np.flatnonzero(~dropped[:-1])


def _starts_after(last: Flags) -> Rows:
    """First rows, where a row follows each flagged one."""
    return np.flatnonzero(np.append(True, last[:-1]))
