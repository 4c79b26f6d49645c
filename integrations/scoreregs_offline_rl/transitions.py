"""Transitions of an offline data set as tensors, with D4RL's row semantics made explicit."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from scoreregs_offline_rl.columns import check_lengths, flag_column, float_column
from scoreregs_offline_rl.errors import DataError

__all__ = ["Batch", "Transitions"]


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
            units, shape (E,), summed over all its recorded rows, also over those that hold no s'.
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
        timeouts: ArrayLike,
        next_observations: ArrayLike | None = None,
        *,
        source: str = "arrays",
        environment: str | None = None,
    ) -> Transitions:
        """Check arrays in D4RL's flat layout and pair each row with its next observation.

        Row i holds s_i, a_i, the reward and flags of the step from s_i. A trajectory ends at a
        row whose terminal or timeout is set, or at the last row.

        - With `next_observations`, every row is kept.
        - Without, s'_i is observations[i + 1]. A cut row (timeout, or the last one) that is not
          terminal has no s' and is dropped; `ends` moves to the row before it. A terminal row is
          kept with s'_i = s_i, which no target reads.

        Args:
            observations: Shape (N, o), floating, finite.
            actions: Shape (N, a), floating, finite, in the environment's units.
            rewards: Shape (N,), floating, finite.
            terminals: Shape (N,), bool or 0/1; the episode ended for good.
            timeouts: Shape (N,), bool or 0/1; the episode was cut.
            next_observations: Shape (N, o), floating, finite.
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
        columns = {
            "observations": float_column("observations", observations, 2, source),
            "actions": float_column("actions", actions, 2, source),
            "rewards": float_column("rewards", rewards, 1, source),
        }
        flags = {
            "terminals": flag_column("terminals", terminals, source),
            "timeouts": flag_column("timeouts", timeouts, source),
        }
        if next_observations is not None:
            columns["next_observations"] = float_column(
                "next_observations", next_observations, 2, source
            )
        check_lengths(columns | flags, source)

        terminal, rows = flags["terminals"], len(flags["terminals"])
        last = terminal | flags["timeouts"]
        complete = np.ones(int(last.sum()) + int(not last[-1]), dtype=bool)
        complete[-1] = last[-1]
        last[-1] = True
        starts = np.flatnonzero(np.append(True, last[:-1]))
        returns = np.add.reduceat(columns["rewards"].astype(np.float64), starts)

        kept = np.arange(rows)
        if next_observations is None:
            kept, following = _pair(terminal, last, source)
            paired = columns["observations"][following]
            columns = {key: column[kept] for key, column in columns.items()}
            columns["next_observations"] = paired
        trajectory = np.cumsum(np.append(False, last[:-1]))[kept]
        ends = np.append(trajectory[1:] != trajectory[:-1], True)
        return cls(
            **{key: torch.from_numpy(column) for key, column in columns.items()},
            terminals=torch.from_numpy(terminal[kept]),
            ends=torch.from_numpy(ends),
            trajectory_returns=torch.from_numpy(returns.astype(np.float32)),
            trajectory_complete=torch.from_numpy(complete),
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


def _pair(
    terminal: NDArray[np.bool_], last: NDArray[np.bool_], source: str
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows that have a next observation among the rows, and the rows that hold it."""
    kept = np.flatnonzero(terminal | ~last)
    if len(kept) == 0:
        raise DataError(
            "got no row with a next observation, expected at least one",
            source=source,
            key="timeouts",
            remedy="store `next_observations`, or check the flags",
        )
    return kept, np.where(terminal[kept], kept, kept + 1)
