"""Recordings in NumPy's NPZ files, one array a key."""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scoreregs_offline_rl.data.loading import (
    LoadingConfig,
    build_transitions,
    choose_keys,
    environment_of,
)
from scoreregs_offline_rl.data.room import Room
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks import task_of_file

__all__ = ["NpzArrays", "load_npz", "open_npz"]

# What zipfile and NumPy raise on damaged containers, compressed data and headers of arrays.
_DAMAGED = (
    OSError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
# No deflated byte holds more than this many.
_DEFLATE = 1032


def load_npz(path: str | os.PathLike[str], config: LoadingConfig | None = None) -> Transitions:
    """Returns the data set of a file that `numpy.savez` wrote, with the keys of `load_hdf5`.

    A scalar array `environment` of text becomes `Transitions.environment`. Nothing is unpickled.

    Args:
        path: the file.
        config: how to read it, other keys say.

    Raises:
        DataError: where the file is absent, is not NPZ, is damaged, lacks a key, holds Python
            objects, or holds data that `Transitions.from_arrays` refuses.

    Example:
        >>> import tempfile
        >>> from scoreregs_offline_rl.data.loading import DataKeys
        >>> log = Path(tempfile.mkdtemp()) / "log.npz"
        >>> rows = np.arange(6.0).reshape(6, 1)
        >>> np.savez(log, obs=rows, actions=rows, rewards=rows[:, 0], done=rows[:, 0] == 5)
        >>> keys = DataKeys(observations="obs", terminals="done")
        >>> len(load_npz(log, LoadingConfig(keys=keys, max_episode_steps=100)))
        6
    """
    source, config = os.fspath(path), config or LoadingConfig()
    with open_npz(path) as file:
        keys = choose_keys(config, file.keys, source)
        arrays = {name: file[key] for name, key in keys.items()}
        environment = file["environment"] if "environment" in file.keys else None
    return build_transitions(
        arrays,
        config,
        source=source,
        environment=environment_of(environment, source),
        task=task_of_file(Path(path).name),
    )


class NpzArrays:
    """The arrays of an open NPZ file.

    Args:
        file: the container.
        source: what messages call it.
    """

    def __init__(self, file: zipfile.ZipFile, source: str) -> None:
        self._file, self._room = file, Room(source)
        self.keys = [name[:-4] for name in file.namelist() if name.endswith(".npy")]

    def __getitem__(self, key: str) -> np.ndarray:
        """Returns an array, after a look at whether its header may be believed.

        Args:
            key: one of `keys`.

        Raises:
            ValueError: for Python objects, and for a shape that the file cannot hold.
            DataError: for one that does not fit into memory, beside those before it.
        """
        member = self._file.getinfo(f"{key}.npy")
        with self._file.open(member) as file:
            shape, dtype = _header(file)
            promised = math.prod(shape) * dtype.itemsize
            held = member.file_size - file.tell()
        compressed = member.compress_type == zipfile.ZIP_DEFLATED
        most = max(member.compress_size, 64) * (_DEFLATE if compressed else 1)
        if promised != held or (member.file_size > most and member.compress_type < 12):
            raise ValueError(
                f"the array {key!r} of shape {shape} and dtype {dtype} takes {promised} bytes, of "
                f"which the file holds {min(held, most)}"
            )
        self._room.take(key, shape, dtype.itemsize)
        with self._file.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)


@contextmanager
def open_npz(path: str | os.PathLike[str]) -> Iterator[NpzArrays]:
    """Yields the arrays of a file.

    Args:
        path: the file.

    Raises:
        DataError: where it is absent, or what NumPy and zipfile raise in the block.
    """
    source = os.fspath(path)
    if not Path(path).is_file():
        raise DataError(
            "got no such file, expected an NPZ file", source=source, remedy="check the path"
        )
    try:
        with Path(path).open("rb") as start:
            if start.read(6) == np.lib.format.MAGIC_PREFIX:
                raise ValueError("it holds one array without a key")
        with zipfile.ZipFile(path) as file:
            yield NpzArrays(file, source)
    except _DAMAGED as error:
        raise DataError(
            f"got a file that NumPy cannot read ({error or type(error).__name__}), expected arrays "
            "that `numpy.savez` wrote, without Python objects",
            source=source,
            remedy="record it again",
        ) from error


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the format is that of named fields")
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded: they are pickled")
    if any(size < 0 for size in shape):
        raise ValueError(f"the shape {shape} has a negative size")
    return shape, dtype
