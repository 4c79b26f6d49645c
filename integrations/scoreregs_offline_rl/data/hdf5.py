"""D4RL's HDF5 layout, read from and written to a path."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scoreregs.arguments import named_calls
from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.data.loading import (
    LoadingConfig,
    build_transitions,
    choose_keys,
    environment_of,
)
from scoreregs_offline_rl.data.room import Room
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.files import replacing
from scoreregs_offline_rl.tasks import D4RLTask, task_of_file

__all__ = ["check_hdf5", "check_storage", "load_hdf5", "save_hdf5"]

_DAMAGED = (
    OSError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)


@named_calls
def load_hdf5(
    path: str | os.PathLike[str],
    config: LoadingConfig | None = None,
    *,
    task: D4RLTask | None = None,
) -> Transitions:
    """Returns the data set of a file in D4RL's flat HDF5 layout (Fu et al., 2020).

    Keys: `observations` (N, o), `actions` (N, a), `rewards` (N,), `terminals` (N,) and, if there,
    `timeouts` (N,), `next_observations` (N, o) and `masks` (N,); others are left alone. The
    attribute `environment` becomes `Transitions.environment`. What the rows mean:
    `Transitions.from_arrays`. Soft links inside the file are followed; what lies in another file is
    not read, nor what was declared and never written.

    Args:
        path: the file.
        config: how to read it, other keys say.
        task: the D4RL task that it holds. None: the one that it is named after, if any.

    Raises:
        DataError: where the file is absent, is not HDF5, is damaged, lacks a key, has arrays
            elsewhere or larger than memory, or holds data that `Transitions.from_arrays` refuses.
        MissingDependencyError: unless h5py is installed.
    """
    source, config = os.fspath(path), config or LoadingConfig()
    with _open(path) as (file, present):
        keys = choose_keys(config, present, source)
        room = Room(source)
        arrays = {name: _read(file, key, room, source) for name, key in keys.items()}
        environment = environment_of(file.attrs.get("environment"), source)
    return build_transitions(
        arrays,
        config,
        source=source,
        environment=environment,
        task=task or task_of_file(Path(path).name),
    )


def check_hdf5(path: str | os.PathLike[str]) -> None:
    """Raises unless a file is whole HDF5, of arrays.

    Args:
        path: the file.

    Raises:
        DataError: it is not.
        MissingDependencyError: unless h5py is installed.
    """
    with _open(path) as (_, keys):
        if not keys:
            raise DataError(
                "got no arrays in this file, expected D4RL's",
                source=os.fspath(path),
                remedy="download or record it again",
            )


def check_storage(path: str | os.PathLike[str]) -> None:
    """Raises where an array of an HDF5 file lies in another one, or is none that can be read.

    It cannot where it was declared and never written, or where all do not fit into memory.

    Args:
        path: the file.

    Raises:
        DataError: the message names the array.
        MissingDependencyError: unless h5py is installed.
    """
    with _open(path) as (file, keys):
        room = Room(os.fspath(path))
        for key in keys:
            _sound_array(file, key, room, os.fspath(path))


def save_hdf5(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], environment: str
) -> None:
    """Writes arrays in D4RL's layout; the file appears whole or not at all.

    Args:
        path: the file; its directory is created.
        arrays: by D4RL's key.
        environment: stored as the attribute `environment`.

    Raises:
        MissingDependencyError: unless h5py is installed.
    """
    h5py = _h5py()
    with replacing(Path(path)) as partial, h5py.File(partial, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array)
        file.attrs["environment"] = environment


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError("h5py", "offline-rl") from error
    return h5py


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[tuple[Any, list[str]]]:
    """An open file and the paths of its arrays; what h5py cannot read becomes a DataError."""
    h5py = _h5py()
    source = os.fspath(path)
    if not Path(path).is_file():
        raise DataError(
            "got no such file, expected an HDF5 file", source=source, remedy="check the path"
        )
    try:
        with h5py.File(path, "r") as file:
            yield file, _keys(file)
    except _DAMAGED as error:
        raise DataError(
            f"got a file that h5py cannot read ({error or type(error).__name__}), expected D4RL's "
            "HDF5 layout",
            source=source,
            remedy="download or record it again",
        ) from error


def _keys(file: Any) -> list[str]:
    """The paths of the arrays in a file, also of those that a link leads to."""
    h5py = _h5py()
    keys, seen, groups = [], set(), [("", file)]
    while groups:
        prefix, group = groups.pop()
        address = h5py.h5o.get_info(group.id).addr
        # Links may lead in a circle.
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            # h5py gives the bytes of a name that is not UTF-8.
            if not isinstance(name, str):
                continue
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                # Named, so that asking for it says where it is.
                keys.append(prefix + name)
                continue
            try:
                item = group[name]
            except (KeyError, OSError, RuntimeError):
                continue
            if isinstance(item, h5py.Dataset):
                keys.append(prefix + name)
            elif isinstance(item, h5py.Group):
                groups.append((f"{prefix}{name}/", item))
    return sorted(keys)


def _sound_array(file: Any, key: str, room: Room, source: str) -> Any:
    """An array that lies in the file itself, was written, and fits into memory; not yet read."""
    h5py = _h5py()
    link = file.get(key, getlink=True)
    array = None if isinstance(link, h5py.ExternalLink) else file[key]
    if array is None or array.external or array.is_virtual or array.file.id != file.id:
        raise DataError(
            "got an array that lies in another file, expected one in this file",
            source=source,
            key=key,
            remedy="copy the array into this file (h5repack, or read and write it with h5py)",
        )
    if array.shape is None:
        return array
    room.take(key, array.shape, array.dtype.itemsize)
    if not _is_written(array):
        raise DataError(
            f"got shape {array.shape}, of which all or a part was never written, expected values",
            source=source,
            key=key,
            remedy="record it again, and see that the recording ends before the file is closed",
        )
    return array


def _is_written(array: Any) -> bool:
    """Whether storage holds every value; what it does not hold reads as if it were zero."""
    if not array.size:
        return True
    if array.chunks is None:
        return array.id.get_storage_size() > 0
    sides = zip(array.shape, array.chunks, strict=True)
    return array.id.get_num_chunks() == math.prod(-(-size // chunk) for size, chunk in sides)


def _read(file: Any, key: str, room: Room, source: str) -> np.ndarray:
    array = _sound_array(file, key, room, source)
    if array.shape is None:
        raise ValueError(f"{key!r} has no data")
    return array[()]
