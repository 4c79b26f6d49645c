"""D4RL's data sets by name: from the user's folder, else downloaded into it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from scoreregs_offline_rl.data.download import (
    DownloadProgress,
    download_data,
    mirrored,
    no_download_progress,
)
from scoreregs_offline_rl.data.hdf5 import check_hdf5, load_hdf5
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks import PAPER_TASKS, D4RLTask, find_task

__all__ = ["d4rl_file", "load_d4rl"]

MIRRORS_VARIABLE = "SCOREREGS_D4RL_MIRRORS"
HUB_MIRROR = "https://huggingface.co/datasets/imone/D4RL/resolve/main"
"""A copy of D4RL's locomotion on the Hugging Face Hub, asked after the user's own mirrors."""


def load_d4rl(
    name: str,
    config: LoadingConfig | None = None,
    *,
    progress: DownloadProgress = no_download_progress,
) -> Transitions:
    """Returns a D4RL data set by its name, from the file that `d4rl_file` finds.

    Args:
        name: as `hopper-medium-v2`.
        config: how to read it, and mirrors.
        progress: told of a download.

    Raises:
        DataError: see `d4rl_file` and `load_hdf5`.
    """
    config = config or LoadingConfig()
    task = find_task(name)
    if task is None:
        raise DataError(
            f"got the name {name!r}, expected one of {', '.join(PAPER_TASKS)}",
            remedy="install `scoreregs[d4rl]` for D4RL's further names, or give a file",
        )
    return load_hdf5(d4rl_file(task, config.mirrors, progress=progress), config, task=task)


def d4rl_file(
    task: D4RLTask,
    mirrors: Sequence[str] = (),
    *,
    progress: DownloadProgress = no_download_progress,
) -> Path:
    """Returns the file of a task in `$D4RL_DATASET_DIR`, or in `~/.d4rl/datasets` without that.

    It may be called as D4RL publishes it (`hopper_medium-v2.hdf5`) or after the task
    (`hopper-medium-v2.hdf5`). Where it is not there it is downloaded: from D4RL's own host, then
    from `mirrors`, then from those in the environment variable SCOREREGS_D4RL_MIRRORS, then, for
    locomotion, from the copy on the Hugging Face Hub.

    Args:
        task: the task.
        mirrors: URLs of folders, or URLs in which {file} or {name} is replaced.
        progress: told of a download.

    Raises:
        DataError: where it cannot be downloaded or written.
        MissingDependencyError: unless h5py is installed.
    """
    folder = Path(os.environ.get("D4RL_DATASET_DIR") or "~/.d4rl/datasets").expanduser()
    for file in (task.file, f"{task.name}.hdf5"):
        if (folder / file).is_file():
            return folder / file
    path = folder / task.file
    mirrors = [*mirrors, *os.environ.get(MIRRORS_VARIABLE, "").split()]
    if "/gym_mujoco_v2/" in task.url:
        mirrors.append(HUB_MIRROR)
    urls = [task.url, *(mirrored(mirror, task.file, task.name) for mirror in mirrors)]
    return download_data(
        urls,
        path,
        check=check_hdf5,
        progress=progress,
        folder="D4RL_DATASET_DIR",
        mirrors=f"{MIRRORS_VARIABLE} or --loading.mirrors",
    )
