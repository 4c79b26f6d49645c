"""The columns that training reads side by side in one tensor: a batch is one selection of rows."""

from typing import final

import torch
from torch import Tensor

from scoreregs_offline_rl.data.stretches import FirstRows, Stretches
from scoreregs_offline_rl.data.transitions import Batch, Transitions

__all__ = ["PackedRows"]


@final
class PackedRows:
    """Rows (s, a, s', r, terminal) as one tensor, on the data's device.

    The rows of a stage's first steps, where it has such, come behind the data's, and each has one
    column more, `Stretches.later`: a step's rows are one selection all the same, whichever it is.

    Args:
        data: it is copied.
        first: of the stage; None: it works on the data's rows from its first step on.

    Example:
        >>> data = Transitions.from_arrays(
        ...     observations=[[0.0], [1.0]],
        ...     actions=[[0.5], [0.25]],
        ...     rewards=[1.0, 2.0],
        ...     terminals=[0, 1],
        ...     timeouts=[0, 0],
        ...     next_observations=[[1.0], [1.0]],
        ... )
        >>> packed = PackedRows(data)
        >>> packed.batch(packed.select(torch.tensor([1]))).actions
        tensor([[0.2500]])
    """

    def __init__(self, data: Transitions, first: FirstRows | None = None) -> None:
        size, actions = data.observations.shape[1], data.actions.shape[1]
        self._sizes = [size, actions, size, 1, 1]
        self._count, self._first_steps = len(data), 0
        columns = _columns(data)
        if first is not None:
            self._first_steps = first.steps
            self._sizes.append(1)
            pairs = zip(
                [*columns, torch.ones_like(data.rewards)[:, None]],
                [*_columns(first.rows), first.rows.later[:, None]],
                strict=True,
            )
            columns = [torch.cat(pair) for pair in pairs]
        self._rows = torch.cat(columns, dim=1)

    def __len__(self) -> int:
        """Returns the number of the data's rows."""
        return self._count

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self._rows.device

    def at(self, count: Tensor, indices: Tensor) -> Tensor:
        """Returns what to select for rows of the data in a step, counted on the device from 0."""
        if not self._first_steps:
            return indices
        return torch.where(count < self._first_steps, indices + self._count, indices)

    def select(self, indices: Tensor) -> Tensor:
        """Returns the rows of indices (...,), int64, as (..., columns)."""
        return self._rows.index_select(0, indices.flatten()).unflatten(0, indices.shape)

    def batch(self, rows: Tensor) -> Batch:
        """Returns selected rows by their columns, which are views; `Stretches` where some are."""
        observations, actions, following, rewards, terminals, *later = rows.split(
            self._sizes, dim=-1
        )
        columns = observations, actions, rewards.squeeze(-1), following, terminals.squeeze(-1) > 0
        return Stretches(*columns, later[0].squeeze(-1)) if later else Batch(*columns)


def _columns(data: Transitions | Batch) -> list[Tensor]:
    flags = data.terminals.to(data.rewards.dtype)
    matrices = data.observations, data.actions, data.next_observations
    return [*matrices, data.rewards[:, None], flags[:, None]]
