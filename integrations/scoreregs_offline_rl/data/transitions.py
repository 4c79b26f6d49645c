"""Transitions of an offline data set as tensors, with D4RL's row semantics made explicit."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from scoreregs.arguments import named_calls
from scoreregs.devices import present_device
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.columns import (
    check_actions,
    check_lengths,
    flag_column,
    float_column,
)
from scoreregs_offline_rl.data.interface import MachineInterface
from scoreregs_offline_rl.data.rows import Trajectories, count_timeouts, pair_rows, qlearning_rows
from scoreregs_offline_rl.errors import DataError

__all__ = ["Batch", "RowSemantics", "Transitions"]

RowSemantics = Literal["all", "qlearning"]
"""Which rows are kept: all that have a next observation, or those of `d4rl.qlearning_dataset`."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows (s, a, r, s', terminal) that a critic or a behavior model learns from.

    Attributes:
        observations: s, shape (batch, o), float32.
        actions: a, shape (batch, a), float32.
        rewards: r, shape (batch,), float32.
        next_observations: s', shape (batch, o), float32.
        terminals: shape (batch,), bool; where True the target is r alone (no bootstrap).
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminals: Tensor


@named_calls
@dataclass(frozen=True, eq=False)
class Transitions:
    """A data set of N rows and E trajectories on one device; build it with `from_arrays`.

    Attributes:
        observations: s, shape (N, o), float32; float64 where a feature needs it, until it is
            scaled.
        actions: a, shape (N, a), float32, in the environment's units unless scaled since.
        rewards: r, shape (N,), float32.
        next_observations: s', shape (N, o), of the dtype of s.
        terminals: shape (N,), bool; the episode ended for good, so nothing follows (no bootstrap).
        ends: shape (N,), bool; True on the last row of each trajectory, terminal or cut.
        trajectory_returns: undiscounted return of each recorded trajectory in the environment's
            units, shape (E,), summed over its recorded rows as far as the first terminal one, also
            over those that hold no s'.
        trajectory_lengths: recorded rows of each, shape (E,), int64; no fewer than are kept.
        trajectory_terminal: shape (E,), bool; it has a terminal row.
        trajectory_complete: shape (E,), bool; False for one cut by the end of the data.
        source: the file or name that messages mention.
        environment: what the data came from, as `RecordedEnvironment` writes it, if known.
        interface: what its numbers are on the machine that recorded them, if known.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminals: Tensor
    ends: Tensor
    trajectory_returns: Tensor
    trajectory_lengths: Tensor
    trajectory_terminal: Tensor
    trajectory_complete: Tensor
    source: str = "arrays"
    environment: str | None = None
    interface: MachineInterface | None = None

    @classmethod
    @named_calls
    def from_arrays(
        cls,
        observations: ArrayLike,
        actions: ArrayLike,
        rewards: ArrayLike,
        terminals: ArrayLike,
        timeouts: ArrayLike | None = None,
        next_observations: ArrayLike | None = None,
        *,
        next_known: ArrayLike | None = None,
        unfinished: ArrayLike | None = None,
        rows: RowSemantics = "all",
        max_episode_steps: int | None = None,
        terminals_end: bool = True,
        source: str = "arrays",
        environment: str | None = None,
    ) -> Transitions:
        """Returns checked arrays in D4RL's flat layout, each row with its next observation.

        Row i holds s_i, a_i, the reward and flags of the step from s_i. A trajectory ends at a
        row whose terminal or timeout is set, or at the last row.

        - With `next_observations`, every row is kept, unless `next_known` is False and it is not
          terminal.
        - Without, s'_i is observations[i + 1]. A cut row (timeout, or the last one) that is not
          terminal has no s' and is dropped; `ends` moves to the row before it. A terminal row is
          kept; where it ends its trajectory s'_i = s_i, which no target reads.
        - With `rows="qlearning"`, s'_i is observations[i + 1] for every row but timeouts and the
          last one, which are dropped: the rows of `d4rl.qlearning_dataset`. `next_observations`
          are not read. Trajectories and their returns are the true ones all the same.

        Args:
            observations: shape (N, o), floating, finite.
            actions: shape (N, a), floating, finite, in the environment's units.
            rewards: shape (N,), floating, whole numbers or flags, finite.
            terminals: shape (N,), bool or 0/1; the episode ended for good.
            timeouts: shape (N,), bool or 0/1; the episode was cut. None: every `max_episode_steps`
                rows of an episode.
            next_observations: shape (N, o), floating, finite.
            next_known: shape (N,), bool; whether `next_observations` holds what followed a row.
                None: everywhere.
            unfinished: shape (N,), bool; rows after which only the recording ended, beside the last
                one, so that their trajectories have no return. None: no others.
            rows: which rows are kept.
            max_episode_steps: of the environment, at least 1; not read where there are timeouts.
            terminals_end: whether a terminal row ends its trajectory. Not in D4RL's AntMaze, where
                the ant goes on at the goal and terminal rows come in runs.
            source: what messages call the data.
            environment: of the data, if known.

        Raises:
            DataError: for a wrong rank, dtype or length, discrete actions, a value that is not
                finite or no flag, or where no row is left.

        Example:
            >>> data = Transitions.from_arrays(
            ...     observations=[[0.0], [1.0], [2.0], [9.0]],
            ...     actions=[[0.5]] * 4,
            ...     rewards=[1.0, 1.0, 1.0, 5.0],
            ...     terminals=[0, 0, 0, 1],
            ...     timeouts=[0, 0, 1, 0],
            ... )
            >>> data.next_observations.flatten().tolist()
            [1.0, 2.0, 9.0]
            >>> data.ends.tolist(), data.trajectory_returns.tolist()
            ([False, True, True], [3.0, 5.0])
        """
        if rows not in ("all", "qlearning"):
            raise ArgumentError(f"got rows={rows!r}, expected 'all' or 'qlearning'")
        check_actions(actions, source)
        columns = {
            "observations": float_column("observations", observations, 2, source, exact=True),
            "actions": float_column("actions", actions, 2, source),
            "rewards": float_column("rewards", rewards, 1, source, whole=True),
        }
        flags = {"terminals": flag_column("terminals", terminals, source)}
        for key, array in {
            "timeouts": timeouts,
            "next_known": next_known,
            "unfinished": unfinished,
        }.items():
            if array is not None:
                flags[key] = flag_column(key, array, source)
        if next_observations is not None:
            columns["next_observations"] = float_column(
                "next_observations", next_observations, 2, source, exact=True
            )
        check_lengths(columns | flags, source)
        columns = _of_one_dtype(columns, observations, next_observations)

        terminal, timeout = flags["terminals"], flags.get("timeouts")
        limit = _check_limit(max_episode_steps, timeout is None, source)
        cut = count_timeouts(terminal, limit, terminals_end) if timeout is None else timeout
        recorded = Trajectories.split(
            columns["rewards"], terminal, cut, terminals_end, flags.get("unfinished")
        )
        kept = np.arange(len(terminal))
        if rows == "qlearning":
            kept = qlearning_rows(terminal, timeout, limit)
            columns = _follow(columns, kept, kept + 1, source)
        elif next_observations is None:
            kept, following = pair_rows(terminal, recorded.last)
            columns = _follow(columns, kept, following, source)
        elif "next_known" in flags:
            kept = np.flatnonzero(flags["next_known"] | terminal)
            _refuse_no_rows(kept, source)
            columns = {key: column[kept] for key, column in columns.items()}
        trajectory = np.cumsum(np.append(False, recorded.last[:-1]))[kept]
        tensors: Any = {key: torch.from_numpy(column) for key, column in columns.items()}
        return cls(
            **tensors,
            terminals=torch.from_numpy(terminal[kept]),
            ends=torch.from_numpy(np.append(trajectory[1:] != trajectory[:-1], True)),
            trajectory_returns=torch.from_numpy(recorded.returns.astype(np.float32)),
            trajectory_lengths=torch.from_numpy(recorded.lengths),
            trajectory_terminal=torch.from_numpy(recorded.terminal),
            trajectory_complete=torch.from_numpy(recorded.complete),
            source=source,
            environment=environment,
        )

    def __len__(self) -> int:
        """Returns the number of rows, N."""
        return len(self.rewards)

    @named_calls
    def to(self, device: torch.device | str) -> Transitions:
        """Returns the same data with every tensor on a device.

        Args:
            device: as PyTorch names it.

        Raises:
            ArgumentError: for a device that is not there.
        """
        device = present_device(device)
        moved = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    def select(self, indices: Tensor) -> Batch:
        """Returns some rows.

        Args:
            indices: shape (batch,), int64, on the data's device.
        """
        return Batch(**{f.name: getattr(self, f.name)[indices] for f in fields(Batch)})

    def recorded_row(self, row: int) -> int:
        """Returns the row of the recording, counted from 0, that a row was.

        It is exact where a row is a step and every trajectory has kept rows; else `row` itself.

        Args:
            row: of this data set.
        """
        last = self.ends.nonzero().flatten()
        kept = torch.diff(last, prepend=last.new_tensor([-1]))
        if len(kept) != len(self.trajectory_lengths):
            return row
        before = int(self.ends[:row].sum())
        return row + int((self.trajectory_lengths - kept)[:before].sum())

    def returns(self) -> Tensor:
        """Returns the returns of the complete trajectories; of all of them if none is complete."""
        complete = self.trajectory_complete
        return self.trajectory_returns[complete] if complete.any() else self.trajectory_returns


def _check_limit(max_episode_steps: int | None, needed: bool, source: str) -> int:
    """The limit on an episode's steps; 0 where it is not needed."""
    if not needed:
        return 0
    if max_episode_steps is None:
        raise DataError(
            "got no such array and no `max_episode_steps`, expected one of them",
            source=source,
            key="timeouts",
            remedy="give the environment's `max_episode_steps` (where it has none, a number above "
            "the longest episode), or add the array",
        )
    whole = isinstance(max_episode_steps, Integral) and not isinstance(max_episode_steps, bool)
    if not whole or max_episode_steps < 1:
        raise ArgumentError(
            f"got max_episode_steps={max_episode_steps!r}, expected a whole number, at least 1"
        )
    return max_episode_steps


def _of_one_dtype(
    columns: dict[str, NDArray[np.floating]],
    observations: ArrayLike,
    next_observations: ArrayLike | None,
) -> dict[str, NDArray[np.floating]]:
    """Observations and what follows them both in float64 where one of them needs it."""
    given = {"observations": observations, "next_observations": next_observations}
    wide = any(columns[key].dtype == np.float64 for key in given if key in columns)
    if not wide:
        return columns
    exact = {key: np.asarray(given[key], dtype=np.float64) for key in given if key in columns}
    return columns | exact


def _follow(
    columns: dict[str, NDArray[np.floating]],
    kept: NDArray[np.intp],
    following: NDArray[np.intp],
    source: str,
) -> dict[str, NDArray[np.floating]]:
    """The kept rows of the columns, with the observations of the rows that follow them."""
    _refuse_no_rows(kept, source)
    paired = columns["observations"][following]
    return {key: column[kept] for key, column in columns.items()} | {"next_observations": paired}


def _refuse_no_rows(kept: NDArray[np.intp], source: str) -> None:
    if len(kept) == 0:
        raise DataError(
            "got no row with a next observation, expected at least one",
            source=source,
            key="timeouts",
            remedy="store `next_observations`, or check the flags",
        )
