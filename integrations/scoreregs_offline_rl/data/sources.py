"""From the name of some data, whatever it is, to its transitions."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from scoreregs_offline_rl.data.d4rl_data import load_d4rl
from scoreregs_offline_rl.data.download import DownloadProgress, no_download_progress
from scoreregs_offline_rl.data.hdf5 import load_hdf5
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.minari_data import is_minari_folder, load_minari
from scoreregs_offline_rl.data.npz import load_npz
from scoreregs_offline_rl.data.pendulum import load_pendulum_swingup
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks import FILE_SUFFIXES, PAPER_TASKS, find_task

__all__ = ["load_data"]

_EMBEDDED = "pendulum-swingup"
_MINARI_ID = re.compile(r"([\w-]+/)*[\w-]+-v\d+")


def load_data(
    source: str | os.PathLike[str],
    config: LoadingConfig | None = None,
    *,
    progress: DownloadProgress = no_download_progress,
) -> Transitions:
    """Load transitions from any source that there is a reader for.

    Args:
        source: The embedded `pendulum-swingup`; a file, HDF5 in D4RL's layout or NPZ; the folder of
            a Minari data set; the name of a D4RL data set, as `hopper-medium-v2`; or the id of a
            Minari data set, as `mujoco/hopper/medium-v0`. For arrays in memory there is
            `Transitions.from_arrays`.
        config: How to read it.
        progress: Told of a download from D4RL's host or a mirror.

    Raises:
        DataError: It is none of these, or cannot be used.
        MissingDependencyError: The package that reads it is not installed.

    Example:
        >>> data = load_data("pendulum-swingup")
        >>> len(data), data.observations.shape[1], data.environment
        (90000, 3, 'Pendulum-v1')
    """
    name, path = os.fspath(source), Path(source).expanduser()
    if name == _EMBEDDED:
        return load_pendulum_swingup(config=config)
    if path.is_dir() and is_minari_folder(path):
        return load_minari(path, config)
    if path.is_file() or path.suffix in FILE_SUFFIXES:
        return load_npz(path, config) if path.suffix == ".npz" else load_hdf5(path, config)
    if find_task(name):
        return load_d4rl(name, config, progress=progress)
    near = difflib.get_close_matches(name, [*PAPER_TASKS, _EMBEDDED], n=3, cutoff=0.8)
    if not path.exists() and not near and _MINARI_ID.fullmatch(name):
        return load_minari(name, config)
    raise DataError(
        f"got {name!r}, which is no file and no known name",
        remedy=f"did you mean {' or '.join(near)}?"
        if near
        else "expected an HDF5 or NPZ file, a D4RL name (hopper-medium-v2), a Minari id "
        f"(mujoco/hopper/medium-v0) or folder, or {_EMBEDDED}",
    )
