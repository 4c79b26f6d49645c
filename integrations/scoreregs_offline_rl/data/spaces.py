"""Recorded observations of any Gymnasium space as rows of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from scoreregs_offline_rl.data.interface import MachineInterface, Signal, is_name
from scoreregs_offline_rl.errors import DataError

__all__ = ["check_continuous", "flat_size", "flatten_rows", "interface_of"]


def flatten_rows(values: Any, space: Any, source: str) -> np.ndarray:
    """Returns what Gymnasium's `FlattenObservation` gives for each row.

    Args:
        values: of one space: an array, or for a `Dict` or `Tuple` the parts, rows first in each.
        space: the observation space of a row.
        source: what messages call the data.

    Returns:
        Shape (rows, numbers); of the dtype of Gymnasium's flattened space if that is floating
        point, else float64.

    Raises:
        DataError: unless the space flattens to an array and the values are of it.

    Example:
        >>> from gymnasium import spaces
        >>> space = spaces.Dict({"gear": spaces.Discrete(3), "speed": spaces.Box(0, 9, (1,))})
        >>> rows = {"gear": np.array([2, 0]), "speed": np.array([[4.5], [0.5]], np.float32)}
        >>> flatten_rows(rows, space, "log").tolist()
        [[0.0, 0.0, 1.0, 4.5], [1.0, 0.0, 0.0, 0.5]]
    """
    from gymnasium import spaces

    flat_size(space, source)
    try:
        rows = _flatten(values, space)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"got observations that are not of {space} ({error})",
            source=source,
            key="observations",
            remedy="record or download it again",
        ) from error
    dtype = spaces.flatten_space(space).dtype
    return rows.astype(dtype if np.issubdtype(dtype, np.floating) else np.float64)


def interface_of(space: Any, actions: int) -> MachineInterface | None:
    """Returns what the keys of a `Dict` space call the numbers of `flatten_rows`; None for others.

    Args:
        space: the observation space of a row.
        actions: how many numbers an action has.

    Example:
        >>> from gymnasium import spaces
        >>> space = spaces.Dict({"gear": spaces.Discrete(2), "speed": spaces.Box(0, 9, (1,))})
        >>> [signal.name for signal in interface_of(space, 1).observations]
        ['gear_0', 'gear_1', 'speed']
    """
    from gymnasium import spaces

    names = _names(space, "") if isinstance(space, spaces.Dict) else []
    if not names or len(set(names)) < len(names) or not all(map(is_name, names)):
        return None
    return MachineInterface(
        tuple(map(Signal, names)), MachineInterface.numbered(1, actions).actions
    )


def _names(space: Any, name: str) -> list[str]:
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
        return [n for key, part in parts for n in _names(part, f"{name}.{key}" if name else key)]
    size = spaces.flatdim(space)
    return [name] if size == 1 else [f"{name}_{index}" for index in range(size)]


def flat_size(space: Any, source: str) -> int:
    """Returns how many numbers a row of a space is as `FlattenObservation` gives it.

    Args:
        space: the observation space of a row.
        source: what messages call the data.

    Raises:
        DataError: unless the space flattens to an array.
    """
    from gymnasium import spaces

    if not space.is_np_flattenable:
        raise DataError(
            f"got observations of {space}, expected a space that flattens to numbers",
            source=source,
            key="observations",
            remedy="record the parts that are numbers",
        )
    return int(spaces.flatdim(space))


def check_continuous(space: Any, source: str) -> None:
    """Raises where an action space is not continuous.

    Args:
        space: Gymnasium's.
        source: what messages call the data.

    Raises:
        DataError: unless it is a box of floating-point numbers.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return
    raise DataError(
        f"got actions of {space}, expected a box of floating-point numbers",
        source=source,
        key="actions",
        remedy="discrete actions are not supported, as numbers neither: the diffusion model of the "
        "actions is of continuous ones",
    )


def _flatten(values: Any, space: Any) -> np.ndarray:
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return _side_by_side([_flatten(values[key], part) for key, part in space.spaces.items()])
    if isinstance(space, spaces.Tuple):
        parts = zip(_parts(values, len(space.spaces)), space.spaces, strict=True)
        return _side_by_side([_flatten(part, of) for part, of in parts])
    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        if isinstance(values, np.ndarray) and values.dtype == object:
            raise ValueError(
                "rows of unlike lengths; Minari 0.5.3 writes small arrays of uint8 as pictures "
                "that it does not read, later versions and other types do not"
            )
        array = np.asarray(values, dtype=space.dtype)
        return array.reshape(len(array), int(np.prod(space.shape)))
    if isinstance(space, spaces.Discrete):
        return _one_hot(np.asarray(values).reshape(-1), space.start, space.n)
    if isinstance(space, spaces.MultiDiscrete):
        counts, starts = space.nvec.reshape(-1), space.start.reshape(-1)
        columns = np.asarray(values).reshape(-1, len(counts)).T
        return _side_by_side(
            [_one_hot(*part) for part in zip(columns, starts, counts, strict=True)]
        )
    # Rare ones, as `Text`, row by row as Gymnasium has it.
    return np.stack([np.asarray(spaces.flatten(space, value)) for value in values])


def _parts(values: Any, count: int) -> list[Any]:
    """The parts of a tuple, which some writers store as a dictionary of numbers."""
    if isinstance(values, dict):
        keys = sorted(values, key=lambda key: int(str(key).rsplit("_", 1)[-1]))
        values = [values[key] for key in keys]
    if len(values) != count:
        raise ValueError(f"{len(values)} parts in place of {count}")
    return list(values)


def _one_hot(codes: np.ndarray, start: Any, count: Any) -> np.ndarray:
    place = codes.astype(np.int64) - int(start)
    if len(place) and not (
        place.min() >= 0 and place.max() < count and (place == codes - start).all()
    ):
        raise ValueError(f"codes from {codes.min()} to {codes.max()}")
    return (place[:, None] == np.arange(int(count))).astype(np.int64)


def _side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
