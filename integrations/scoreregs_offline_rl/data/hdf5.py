"""D4RL's HDF5 layout, read from and written to a path."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.data.loading import LoadingConfig, build_transitions, choose_keys
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.files import replacing
from scoreregs_offline_rl.tasks import D4RLTask, task_of_file

__all__ = ["check_hdf5", "load_hdf5", "save_hdf5"]


def load_hdf5(
    path: str | os.PathLike[str],
    config: LoadingConfig | None = None,
    *,
    task: D4RLTask | None = None,
) -> Transitions:
    """Read a data set in D4RL's flat HDF5 layout (Fu et al., 2020).

    Keys: `observations` (N, o), `actions` (N, a), `rewards` (N,), `terminals` (N,) and, if there,
    `timeouts` (N,) and `next_observations` (N, o); others are left alone. The attribute
    `environment` becomes `Transitions.environment`. What the rows mean: `Transitions.from_arrays`.

    Args:
        path: The file.
        config: How to read it, other keys say.
        task: The D4RL task that it holds. None: the one that it is named after, if any.

    Raises:
        DataError: The file is absent, is not HDF5, is damaged, lacks a key, or holds data that
            `Transitions.from_arrays` refuses.
        MissingDependencyError: h5py is not installed.
    """
    source, config = os.fspath(path), config or LoadingConfig()
    with _open(path) as (file, present):
        keys = choose_keys(config.keys, present, source)
        arrays = {name: file[key][()] for name, key in keys.items()}
        environment = file.attrs.get("environment")
    if isinstance(environment, bytes):
        environment = environment.decode()
    return build_transitions(
        arrays,
        config,
        source=source,
        environment=None if environment is None else str(environment),
        task=task or task_of_file(Path(path).name),
    )


def check_hdf5(path: str | os.PathLike[str]) -> None:
    """See that a file is whole HDF5, of arrays.

    Raises:
        DataError: It is not.
        MissingDependencyError: h5py is not installed.
    """
    with _open(path) as (_, keys):
        if not keys:
            raise DataError(
                "got no arrays in this file, expected D4RL's",
                source=os.fspath(path),
                remedy="download or record it again",
            )


def save_hdf5(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], environment: str
) -> None:
    """Write arrays in D4RL's layout; the file appears whole or not at all.

    Args:
        path: The file; its directory is created.
        arrays: By D4RL's key.
        environment: Stored as the attribute `environment`.

    Raises:
        MissingDependencyError: h5py is not installed.
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
    keys: list[str] = []

    def collect(name: str | bytes, item: Any) -> None:
        # h5py gives the bytes of a name that is not UTF-8.
        if isinstance(item, h5py.Dataset) and isinstance(name, str):
            keys.append(name)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
            yield file, keys
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(
            f"got a file that h5py cannot read ({error}), expected D4RL's HDF5 layout",
            source=source,
            remedy="download or record it again",
        ) from error
