"""Rewards made from a record of success, for logs that have no others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["success_rewards"]

Flags = NDArray[np.bool_]


def success_rewards(success: Flags, last: Flags) -> tuple[NDArray[np.float32], Flags]:
    """Returns rewards, 1 in the last row of each successful episode and else 0, and its terminals.

    An episode is successful where any of its rows is; it then ended for good.

    Args:
        success: shape (rows,).
        last: shape (rows,), the last row of each episode.

    Example:
        >>> rewards, terminals = success_rewards(
        ...     np.array([False, True, True, False, False]),
        ...     np.array([False, False, True, False, True]),
        ... )
        >>> rewards.tolist(), terminals.tolist()
        ([0.0, 0.0, 1.0, 0.0, 0.0], [False, False, True, False, False])
    """
    closed = last.copy()
    closed[-1:] = True
    ends = np.flatnonzero(closed)
    starts = np.append(0, ends[:-1] + 1)
    terminals = np.zeros(len(success), dtype=bool)
    if len(ends):
        terminals[ends] = np.logical_or.reduceat(success, starts)
    return terminals.astype(np.float32), terminals
