"""Transitions of an offline data set as tensors, with D4RL's row semantics made explicit."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.columns import check_lengths, flag_column, float_column
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


@dataclass(frozen=True, eq=False)
class Transitions:
    """A data set of N rows and E trajectories on one device; build it with `from_arrays`.

    Attributes:
        observations: s, shape (N, o), float32.
        actions: a, shape (N, a), float32, in the environment's units unless scaled since.
        rewards: r, shape (N,), float32.
        next_observations: s', shape (N, o), float32.
        terminals: Shape (N,), bool; the episode ended for good, so nothing follows (no bootstrap).
        ends: Shape (N,), bool; True on the last row of each trajectory, terminal or cut.
        trajectory_returns: Undiscounted return of each recorded trajectory in the environment's
            units, shape (E,), summed over its recorded rows as far as the first terminal one, also
            over those that hold no s'.
        trajectory_lengths: Recorded rows of each, shape (E,), int64; no fewer than are kept.
        trajectory_terminal: Shape (E,), bool; it has a terminal row.
        trajectory_complete: Shape (E,), bool; False for a last one cut by the end of the data.
        source: The file or name that messages mention.
        environment: Identifier of the environment that the data came from, if it says so.
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

    @classmethod
    def from_arrays(
        cls,
        observations: ArrayLike,
        actions: ArrayLike,
        rewards: ArrayLike,
        terminals: ArrayLike,
        timeouts: ArrayLike | None = None,
        next_observations: ArrayLike | None = None,
        *,
        rows: RowSemantics = "all",
        max_episode_steps: int | None = None,
        terminals_end: bool = True,
        source: str = "arrays",
        environment: str | None = None,
    ) -> Transitions:
        """Check arrays in D4RL's flat layout and pair each row with its next observation.

        Row i holds s_i, a_i, the reward and flags of the step from s_i. A trajectory ends at a
        row whose terminal or timeout is set, or at the last row.

        - With `next_observations`, every row is kept.
        - Without, s'_i is observations[i + 1]. A cut row (timeout, or the last one) that is not
          terminal has no s' and is dropped; `ends` moves to the row before it. A terminal row is
          kept; where it ends its trajectory s'_i = s_i, which no target reads.
        - With `rows="qlearning"`, s'_i is observations[i + 1] for every row but timeouts and the
          last one, which are dropped: the rows of `d4rl.qlearning_dataset`. `next_observations`
          are not read. Trajectories and their returns are the true ones all the same.

        Args:
            observations: Shape (N, o), floating, finite.
            actions: Shape (N, a), floating, finite, in the environment's units.
            rewards: Shape (N,), floating, finite.
            terminals: Shape (N,), bool or 0/1; the episode ended for good.
            timeouts: Shape (N,), bool or 0/1; the episode was cut. None: every `max_episode_steps`
                rows of an episode.
            next_observations: Shape (N, o), floating, finite.
            rows: Which rows are kept.
            max_episode_steps: Of the environment, at least 1; not read where there are timeouts.
            terminals_end: Whether a terminal row ends its trajectory. Not in D4RL's AntMaze, where
                the ant goes on at the goal and terminal rows come in runs.
            source: What messages call the data.
            environment: Identifier of the environment, if known.

        Raises:
            DataError: On a wrong rank, dtype or length, a value that is not finite or no flag, or
                where no row is left.

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
        columns = {
            "observations": float_column("observations", observations, 2, source),
            "actions": float_column("actions", actions, 2, source),
            "rewards": float_column("rewards", rewards, 1, source),
        }
        flags = {"terminals": flag_column("terminals", terminals, source)}
        if timeouts is not None:
            flags["timeouts"] = flag_column("timeouts", timeouts, source)
        if next_observations is not None:
            columns["next_observations"] = float_column(
                "next_observations", next_observations, 2, source
            )
        check_lengths(columns | flags, source)

        terminal, timeout = flags["terminals"], flags.get("timeouts")
        limit = _check_limit(max_episode_steps, timeout is None, source)
        cut = count_timeouts(terminal, limit, terminals_end) if timeout is None else timeout
        recorded = Trajectories.split(columns["rewards"], terminal, cut, terminals_end)
        kept = np.arange(len(terminal))
        if rows == "qlearning":
            kept = qlearning_rows(terminal, timeout, limit)
            columns = _follow(columns, kept, kept + 1, source)
        elif next_observations is None:
            kept, following = pair_rows(terminal, recorded.last)
            columns = _follow(columns, kept, following, source)
        trajectory = np.cumsum(np.append(False, recorded.last[:-1]))[kept]
        return cls(
            **{key: torch.from_numpy(column) for key, column in columns.items()},
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
        """Number of rows, N."""
        return len(self.rewards)

    def to(self, device: torch.device | str) -> Transitions:
        """The same data with every tensor on a device."""
        moved = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    def select(self, indices: Tensor) -> Batch:
        """The rows at `indices`, shape (batch,), int64, on the data's device."""
        return Batch(**{f.name: getattr(self, f.name)[indices] for f in fields(Batch)})

    def returns(self) -> Tensor:
        """Returns of the complete trajectories; of all of them if none is complete."""
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
    if max_episode_steps < 1:
        raise ArgumentError(f"got max_episode_steps={max_episode_steps}, expected at least 1")
    return max_episode_steps


def _follow(
    columns: dict[str, NDArray[np.float32]],
    kept: NDArray[np.intp],
    following: NDArray[np.intp],
    source: str,
) -> dict[str, NDArray[np.float32]]:
    """The kept rows of the columns, with the observations of the rows that follow them."""
    if len(kept) == 0:
        raise DataError(
            "got no row with a next observation, expected at least one",
            source=source,
            key="timeouts",
            remedy="store `next_observations`, or check the flags",
        )
    paired = columns["observations"][following]
    return {key: column[kept] for key, column in columns.items()} | {"next_observations": paired}
