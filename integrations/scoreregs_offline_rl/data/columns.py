"""Checks of a data set's columns, which name the key, the row and the remedy."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.files import first_line

__all__ = [
    "ROUNDING",
    "check_actions",
    "check_lengths",
    "flag_column",
    "float_column",
    "held_by_float32",
]

logger = logging.getLogger(__name__)

ROUNDING = 1e-3
"""Rounding below this part of a column's standard deviation leaves what it says as it is."""


def float_column(
    key: str,
    array: ArrayLike,
    rank: int,
    source: str,
    *,
    exact: bool = False,
    whole: bool = False,
) -> NDArray[np.floating]:
    """Returns a copy of a column of rank 1 or 2 in float32.

    Shape (rows, 1) is read as (rows,).

    Args:
        key: what messages call the column.
        array: floating, finite.
        rank: 1 or 2.
        source: what messages call the data.
        exact: keep float64 where float32 would round a feature away, see `held_by_float32`.
        whole: take whole numbers and flags for the numbers that they are, as rewards that mark
            success or progress.

    Raises:
        DataError: unless it holds finite floating-point numbers in that shape.
    """
    given = _as_array(key, array, source)
    given = _as_vector(given) if rank == 1 else given
    if whole and given.dtype.kind in "bui":
        given = given.astype(np.float64)
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
            remedy="reshape it; image observations are not read, and arrays of (steps, "
            "environments, ...) with loading.layout next_step or same_step",
        )
    with np.errstate(over="ignore"):
        copied = given.astype(np.float32)
    finite = np.isfinite(copied)
    if rank == 2 and given.size:
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
    held = held_by_float32(given.reshape(len(given), -1)) if given.size else np.ones(1, dtype=bool)
    if exact and not held.all():
        return given.astype(np.float64)
    if not held.all():
        logger.warning(
            "%s, key %r: features %s vary by so little beside their size that float32 cannot hold "
            "them: take a constant off them",
            *(source, key, np.flatnonzero(~held).tolist()),
        )
    return copied


def held_by_float32(columns: np.ndarray) -> NDArray[np.bool_]:
    """Returns by feature whether float32 keeps what it says.

    It does not where rounding is more than a thousandth of the feature's standard deviation, as for
    a clock in seconds since 1970 or a position far from its origin; one that never changes has
    nothing to keep.

    Args:
        columns: shape (rows, features), floating, finite.

    Example:
        >>> clock = 1.7e9 + np.arange(100.0)
        >>> held_by_float32(np.stack([clock, clock - 1.7e9], 1)).tolist()
        [False, True]
    """
    if columns.dtype.itemsize <= 4 or not len(columns):
        return np.ones(columns.shape[-1], dtype=bool)
    rounding = np.abs(columns - columns.astype(np.float32)).max(axis=0)
    constant = columns.min(axis=0) == columns.max(axis=0)
    return (rounding <= ROUNDING * columns.std(axis=0)) | constant


def check_actions(array: ArrayLike, source: str) -> None:
    """Raises where actions are discrete.

    Args:
        array: of the actions.
        source: what messages call the data.

    Raises:
        DataError: for integers and flags, which are codes of choices.
    """
    given = _as_array("actions", array, source)
    if given.dtype.kind in "bui":
        raise DataError(
            f"got discrete actions of dtype {given.dtype}, expected continuous ones in floating "
            "point",
            source=source,
            key="actions",
            remedy="codes of choices are not supported, as numbers neither: the diffusion model of "
            "the actions is of continuous ones; store what is measured in whole units, as the "
            "ticks of a motor, as floating point in its unit",
        )


def flag_column(key: str, array: ArrayLike, source: str) -> NDArray[np.bool_]:
    """Returns a bool copy of a column of flags.

    Shape (rows, 1) is read as (rows,).

    Args:
        key: what messages call the column.
        array: shape (rows,), bool or 0/1.
        source: what messages call the data.

    Raises:
        DataError: unless it is of that shape and those values.
    """
    given = _as_vector(_as_array(key, array, source))
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
    """Raises where columns are empty or do not fit the observations.

    Args:
        columns: by key, `observations` and `actions` among them.
        source: what messages call the data.

    Raises:
        DataError: the message names the column.
    """
    rows = len(columns["observations"])
    for key, column in columns.items():
        if column.ndim == 0:
            raise DataError(
                f"got one value, expected {rows} rows as in 'observations'",
                source=source,
                key=key,
                remedy="record the file again, a value for each row",
            )
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


def _as_array(key: str, array: ArrayLike, source: str) -> np.ndarray:
    try:
        return np.asarray(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"got what NumPy makes no array of ({first_line(error)}), expected numbers in rows of "
            "one length",
            source=source,
            key=key,
            remedy="give an array, on the CPU and without gradient",
        ) from error


def _as_vector(given: np.ndarray) -> np.ndarray:
    """D4RL, too, takes (rows, 1) for (rows,)."""
    return given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
