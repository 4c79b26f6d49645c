"""D4RL's HDF5 layout, read from and written to a path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.files import replacing
from scoreregs_offline_rl.transitions import Transitions

__all__ = ["load_hdf5", "save_hdf5"]

_REQUIRED = ("observations", "actions", "rewards", "terminals", "timeouts")


def load_hdf5(path: str | os.PathLike[str]) -> Transitions:
    """Read a data set in D4RL's flat HDF5 layout (Fu et al., 2020).

    Keys: `observations` (N, o), `actions` (N, a), `rewards` (N,), `terminals` (N,), `timeouts`
    (N,) and, if there, `next_observations` (N, o); others are left alone. The attribute
    `environment` becomes `Transitions.environment`. What the rows mean: `Transitions.from_arrays`.

    Raises:
        DataError: The file is absent, is not HDF5, is damaged, lacks a key, or holds data that
            `Transitions.from_arrays` refuses.
        MissingDependencyError: h5py is not installed.
    """
    h5py = _h5py()
    source = os.fspath(path)
    if not Path(path).is_file():
        raise DataError(
            "got no such file, expected an HDF5 file", source=source, remedy="check the path"
        )
    try:
        with h5py.File(path, "r") as file:
            present = [*_REQUIRED, *(["next_observations"] if "next_observations" in file else [])]
            arrays = {key: _read(h5py, file, key, source) for key in present}
            environment = file.attrs.get("environment")
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"got a file that h5py cannot read ({error}), expected D4RL's HDF5 layout",
            source=source,
            remedy="download or record it again",
        ) from error
    if isinstance(environment, bytes):
        environment = environment.decode()
    return Transitions.from_arrays(
        **arrays, source=source, environment=None if environment is None else str(environment)
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


def _read(h5py: Any, file: Any, key: str, source: str) -> np.ndarray:
    if not isinstance(file.get(key), h5py.Dataset):
        raise DataError(
            f"got no such array among {sorted(file)}, expected {', '.join(_REQUIRED)}",
            source=source,
            key=key,
            remedy="use the v2 file of a D4RL task, or add the array",
        )
    return file[key][()]
