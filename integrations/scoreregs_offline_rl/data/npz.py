"""Recordings in NumPy's NPZ files, one array a key."""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from scoreregs_offline_rl.data.loading import LoadingConfig, build_transitions, choose_keys
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks import task_of_file

__all__ = ["load_npz"]

# What zipfile and NumPy raise on damaged containers, compressed data and headers of arrays.
_DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    SyntaxError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_npz(path: str | os.PathLike[str], config: LoadingConfig | None = None) -> Transitions:
    """Read a data set that `numpy.savez` wrote, with the keys of `load_hdf5`.

    A scalar array `environment` of text becomes `Transitions.environment`. Nothing is unpickled.

    Args:
        path: The file.
        config: How to read it, other keys say.

    Raises:
        DataError: The file is absent, is not NPZ, is damaged, lacks a key, holds Python objects,
            or holds data that `Transitions.from_arrays` refuses.

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
    source = os.fspath(path)
    if not Path(path).is_file():
        raise DataError(
            "got no such file, expected an NPZ file", source=source, remedy="check the path"
        )
    config = config or LoadingConfig()
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a key")
        with opened as file:
            keys = choose_keys(config.keys, file.files, source)
            arrays = {name: file[key] for name, key in keys.items()}
            environment = file["environment"] if "environment" in file.files else None
    except _DAMAGED as error:
        raise DataError(
            f"got a file that NumPy cannot read ({error}), expected arrays that `numpy.savez` "
            "wrote, without Python objects",
            source=source,
            remedy="record it again",
        ) from error
    named = environment is not None and environment.ndim == 0 and environment.dtype.kind == "U"
    return build_transitions(
        arrays,
        config,
        source=source,
        environment=str(environment) if named else None,
        task=task_of_file(Path(path).name),
    )
