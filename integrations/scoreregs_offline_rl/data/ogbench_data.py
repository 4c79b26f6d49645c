"""OGBench's data sets: states by trajectory, with rewards of a task that its environment knows."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from scoreregs_offline_rl.data.download import (
    DownloadProgress,
    download_data,
    mirrored,
    no_download_progress,
)
from scoreregs_offline_rl.data.loading import LoadingConfig, build_transitions, choose_keys
from scoreregs_offline_rl.data.npz import NpzArrays, open_npz
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.environments.making import make_environment
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks.ogbench import OGBENCH_URL, OGBenchTask

__all__ = ["load_ogbench", "ogbench_file"]

_STATE_KEYS = ("qpos", "qvel", "button_states")


def load_ogbench(
    name: str | os.PathLike[str],
    config: LoadingConfig | None = None,
    *,
    progress: DownloadProgress = no_download_progress,
) -> Transitions:
    """Returns a data set of OGBench (Park et al., 2025) with the rewards of one of its tasks.

    A file has T + 1 states for T steps; its `terminals` mark last states, whose actions are
    fillers: those rows are left out, and nothing is terminal by them. Rewards and the rows that
    bootstrap (`masks`) are those of the task, which the environment of the `ogbench` package
    computes from `qpos`, unless the file has them.

    Args:
        name: as `pointmaze-medium-navigate-singletask-task1-v0`, looked up and downloaded by
            `ogbench_file`; or a file that is called so.
        config: how to read it.
        progress: told of a download.

    Raises:
        DataError: where the name has no task and the file no rewards, or see `load_npz`.
        MissingDependencyError: unless `ogbench` is installed, for rewards.
    """
    config = config or LoadingConfig()
    path = Path(name).expanduser()
    task = OGBenchTask.find(path.stem if path.suffix == ".npz" else os.fspath(name))
    if task is None:
        raise DataError(
            f"got {os.fspath(name)!r}, expected a name of OGBench",
            remedy="see its names at https://seohong.me/projects/ogbench",
        )
    if path.suffix != ".npz":
        if task.environment is None:
            raise DataError(*_without_task(task), source=task.name)
        path = ogbench_file(task, config.mirrors, progress=progress)
    source = os.fspath(path)
    with open_npz(path) as file:
        present = set(file.keys)
        labelled = config.keys.rewards in present or config.rewards == "success"
        if not labelled and task.environment is None:
            raise DataError(*_without_task(task), source=source, key=config.keys.rewards)
        made = {} if labelled else {config.keys.rewards: "", config.keys.masks: ""}
        keys = choose_keys(config, present | set(made), source)
        arrays = {ours: file[key] for ours, key in keys.items() if key not in made}
        states = {} if labelled else _states(file, source)
    if not labelled:
        arrays |= _rewards(task, states, source)
    arrays.setdefault("masks", np.ones(len(arrays["terminals"]), dtype=bool))
    return build_transitions(arrays, config, source=source, environment=task.environment)


def ogbench_file(
    task: OGBenchTask,
    mirrors: tuple[str, ...] = (),
    *,
    progress: DownloadProgress = no_download_progress,
) -> Path:
    """Returns the file of a task in `$OGBENCH_DATASET_DIR`, or in OGBench's `~/.ogbench/data`.

    Where it is not there it is downloaded from OGBench's host, then from `mirrors`.

    Args:
        task: the task.
        mirrors: URLs of folders, or URLs in which {file} or {name} is replaced.
        progress: told of a download.

    Raises:
        DataError: where it cannot be downloaded or written.
    """
    folder = Path(os.environ.get("OGBENCH_DATASET_DIR") or "~/.ogbench/data").expanduser()
    path = folder / f"{task.file}.npz"
    urls = [f"{OGBENCH_URL}/{path.name}"]
    urls += [mirrored(mirror, path.name, task.file) for mirror in mirrors]
    return download_data(
        urls,
        path,
        check=_check,
        progress=progress,
        folder="OGBENCH_DATASET_DIR",
    )


def _without_task(task: OGBenchTask) -> tuple[str]:
    example = "-singletask-v".join(task.data_set.rsplit("-v", 1))
    return (
        f"got {task.name!r}, whose rows have no reward, expected the name of one task, as "
        f"{example} or {example.replace('-singletask', '-singletask-task1')}: a file is called so, "
        "too",
    )


def _check(path: Path) -> None:
    with open_npz(path) as file:
        if not {"observations", "actions", "terminals"} <= set(file.keys):
            raise DataError("got a file without observations, actions and terminals")


def _states(file: NpzArrays, source: str) -> dict[str, np.ndarray]:
    if "qpos" not in file.keys:
        raise DataError(
            "got no such array, expected the positions that rewards are computed from",
            source=source,
            key="qpos",
            remedy="download the file again, or store rewards and masks in it",
        )
    return {key: file[key] for key in _STATE_KEYS if key in file.keys}


def _rewards(
    task: OGBenchTask, states: dict[str, np.ndarray], source: str
) -> dict[str, np.ndarray]:
    """Rewards and masks of every row, as the package gives them."""
    environment = make_environment(str(task.environment))
    from ogbench.relabel_utils import relabel_dataset  # pyright: ignore[reportMissingImports]

    try:
        relabel_dataset(task.environment, environment, states)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"got states that the rewards of {task.environment} cannot be computed from ({error})",
            source=source,
            key="qpos",
            remedy="see that the file is of this environment",
        ) from error
    finally:
        environment.close()
    return {"rewards": states["rewards"], "masks": states["masks"]}
