"""The columns that training reads side by side in one tensor: a batch is one selection of rows."""

from typing import final

import torch
from torch import Tensor

from scoreregs_offline_rl.data.transitions import Batch, Transitions

__all__ = ["PackedRows"]


@final
class PackedRows:
    """Rows (s, a, s', r, terminal) as one tensor, on the data's device.

    Args:
        data: it is copied.

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

    def __init__(self, data: Transitions) -> None:
        size, actions = data.observations.shape[1], data.actions.shape[1]
        self._sizes = [size, actions, size, 1, 1]
        flags = data.terminals.to(data.rewards.dtype)
        columns = (data.observations, data.actions, data.next_observations)
        self._rows = torch.cat([*columns, data.rewards[:, None], flags[:, None]], dim=1)

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self._rows)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self._rows.device

    def select(self, indices: Tensor) -> Tensor:
        """Returns the rows of indices (...,), int64, as (..., columns)."""
        return self._rows.index_select(0, indices.flatten()).unflatten(0, indices.shape)

    def batch(self, rows: Tensor) -> Batch:
        """Returns selected rows by their columns, which are views."""
        observations, actions, following, rewards, terminals = rows.split(self._sizes, dim=-1)
        return Batch(
            observations, actions, rewards.squeeze(-1), following, terminals.squeeze(-1) > 0
        )
