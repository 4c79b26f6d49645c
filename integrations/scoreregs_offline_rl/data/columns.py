"""Checks of a data set's columns, which name the key, the row and the remedy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoreregs_offline_rl.errors import DataError

__all__ = ["check_lengths", "flag_column", "float_column"]


def float_column(key: str, array: ArrayLike, rank: int, source: str) -> NDArray[np.float32]:
    """A float32 copy of a column of `rank` 1 or 2; DataError where it is not finite floats.

    Shape (rows, 1) is read as (rows,).
    """
    given = _as_vector(array) if rank == 1 else np.asarray(array)
    if not np.issubdtype(given.dtype, np.floating):
        raise DataError(
            f"got dtype {given.dtype}, expected floating point",
            source=source,
            key=key,
            remedy="store it as float32",
        )
    if given.ndim != rank:
        expected = "(rows, features)" if rank == 2 else "(rows,)"
        raise DataError(
            f"got shape {given.shape}, expected {expected}",
            source=source,
            key=key,
            remedy="reshape it; image observations are not read",
        )
    with np.errstate(over="ignore"):
        copied = given.astype(np.float32)
    finite = np.isfinite(copied)
    if rank == 2:
        finite = finite.all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            f"got {given[row].tolist()}, expected finite float32 values",
            source=source,
            key=key,
            row=row,
            remedy=f"remove the trajectories with such rows ({int((~finite).sum())} of them)",
        )
    return copied


def flag_column(key: str, array: ArrayLike, source: str) -> NDArray[np.bool_]:
    """A bool copy of a column of shape (rows,); DataError where it is not one of bool or 0/1.

    Shape (rows, 1) is read as (rows,).
    """
    given = _as_vector(array)
    if given.ndim != 1 or given.dtype.kind not in "buif":
        raise DataError(
            f"got shape {given.shape} and dtype {given.dtype}, expected (rows,) and bool",
            source=source,
            key=key,
            remedy="store one bool per row",
        )
    valid = (given == 0) | (given == 1)
    if not valid.all():
        row = int(np.argmin(valid))
        raise DataError(
            f"got {given[row]}, expected 0 or 1",
            source=source,
            key=key,
            row=row,
            remedy="store one bool per row",
        )
    return given.astype(bool)


def check_lengths(columns: dict[str, np.ndarray], source: str) -> None:
    """DataError where columns are empty, or do not fit the observations."""
    rows = len(columns["observations"])
    for key, column in columns.items():
        if len(column) != rows:
            raise DataError(
                f"got {len(column)} rows, expected {rows} as in 'observations'",
                source=source,
                key=key,
                remedy="record the file again, or cut every array to the same rows",
            )
    if rows == 0:
        raise DataError("got no rows, expected at least one", source=source, remedy="record data")
    if columns["observations"].shape[1] == 0 or columns["actions"].shape[1] == 0:
        raise DataError(
            "got no features, expected at least one per observation and action",
            source=source,
            key="observations" if columns["observations"].shape[1] == 0 else "actions",
            remedy="record data",
        )
    following = columns.get("next_observations")
    if following is not None and following.shape != columns["observations"].shape:
        raise DataError(
            f"got shape {following.shape}, expected {columns['observations'].shape}",
            source=source,
            key="next_observations",
            remedy="store the observation after each row's action",
        )


def _as_vector(array: ArrayLike) -> np.ndarray:
    """D4RL, too, takes (rows, 1) for (rows,)."""
    given = np.asarray(array)
    return given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
