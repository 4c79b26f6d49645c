"""Minari's data sets, whose episodes hold one observation more than steps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl.data.download import DownloadProgress, no_download_progress
from scoreregs_offline_rl.data.hdf5 import check_storage
from scoreregs_offline_rl.data.loading import LoadingConfig, environment_of
from scoreregs_offline_rl.data.room import Room
from scoreregs_offline_rl.data.spaces import (
    check_continuous,
    flat_size,
    flatten_rows,
    interface_of,
)
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks.recorded import RecordedEnvironment

__all__ = ["is_minari_folder", "load_minari"]


def load_minari(
    name: str | os.PathLike[str],
    config: LoadingConfig | None = None,
    *,
    progress: DownloadProgress = no_download_progress,
) -> Transitions:
    """Returns a Minari data set; every step is kept, with the observation that truly followed it.

    Observations of any space are flattened as Gymnasium's `FlattenObservation` does. The
    environment is the data set's own, that for evaluation where it has one, with its keyword
    arguments, time limit, wrappers and reference returns.

    Args:
        name: an id, as `mujoco/hopper/medium-v0`, looked up in Minari's own cache and then
            downloaded by it, by one process where several ask for it; or the folder of a data set.
        config: which rows to read, and what ends a trajectory; nothing else may be set.
        progress: told of no download; Minari shows its own.

    Raises:
        DataError: where there is no such data set, a setting has no meaning for it, it is damaged,
            its actions are discrete, an episode has a wrong number of observations, or it holds
            data that `Transitions.from_arrays` refuses.
        MissingDependencyError: unless Minari is installed.
    """
    config = config or LoadingConfig()
    _check_config(config, os.fspath(name))
    terminals_end = config.terminals_end is not False
    source = os.fspath(name)
    with _reading(source):
        dataset = _open(name)
        _check_storage(dataset, source)
        check_continuous(dataset.action_space, source)
        space, room = dataset.observation_space, Room(source)
        episodes = [
            _columns(episode, space, terminals_end, room, source)
            for episode in dataset.iterate_episodes()
        ]
        environment = _environment(dataset, source)
    arrays = _join(episodes, source)
    data = Transitions.from_arrays(
        arrays["observations"],
        arrays["actions"],
        arrays["rewards"],
        arrays["terminals"],
        arrays["timeouts"],
        arrays["next_observations"],
        rows=config.rows,
        terminals_end=terminals_end,
        source=source,
        environment=environment,
    )
    return replace(data, interface=interface_of(space, data.actions.shape[1]))


def _check_config(config: LoadingConfig, source: str) -> None:
    """Refuses what says how to read a file, and would say nothing here."""
    usual = LoadingConfig()
    for field in ("keys", "layout", "rewards", "max_episode_steps"):
        if getattr(config, field) != getattr(usual, field):
            raise DataError(
                f"got loading.{field} = {getattr(config, field)!r} for a Minari data set, expected "
                "none, since it says itself what its arrays are",
                source=source,
                remedy="leave the setting out, or save the episodes as an NPZ or HDF5 file",
            )


def is_minari_folder(path: Path) -> bool:
    """Returns whether a folder looks like a Minari data set, or the `data` folder within one.

    Args:
        path: the folder.
    """
    return any((path / part / "metadata.json").is_file() for part in (".", "data"))


def _open(name: str | os.PathLike[str]) -> Any:
    try:
        import minari
    except ImportError as error:
        raise MissingDependencyError("minari", "minari") from error
    path = Path(name)
    if path.is_dir():
        return minari.MinariDataset(path if (path / "metadata.json").is_file() else path / "data")
    with _alone(os.fspath(name)):
        return minari.load_dataset(os.fspath(name), download=True)


def _alone(name: str) -> AbstractContextManager[object]:
    """Keeps other processes from reading what this one is downloading."""
    from minari.storage.datasets_root_dir import get_dataset_path

    folder = get_dataset_path()
    # Nobody downloads into a folder that cannot be written.
    if not os.access(folder, os.W_OK):
        return nullcontext()
    return FileLock(folder / f".{name.replace('/', '.')}.lock")


def _check_storage(dataset: Any, source: str) -> None:
    """Refuses arrays that are none; a file that cannot be read is left to Minari."""
    for file in Path(dataset.storage.data_path).glob("*.hdf5"):
        try:
            check_storage(file)
        except DataError as error:
            if error.key is not None:
                raise DataError(
                    error.problem, source=source, key=error.key, remedy=error.remedy
                ) from error


def _environment(dataset: Any, source: str) -> str | None:
    """The environment to evaluate in, with the data set's own reference returns."""
    metadata = dataset.storage.metadata
    spec = metadata.get("eval_env_spec") or metadata.get("env_spec")
    if spec is None:
        return None
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    references = None if low is None or high is None else (float(low), float(high))
    try:
        recorded = RecordedEnvironment.of_spec(spec, references)
    except ArgumentError as error:
        raise DataError(str(error), source=source, key="environment") from error
    return environment_of(str(recorded), source)


def _columns(
    episode: Any, space: Any, terminals_end: bool, room: Room, source: str
) -> dict[str, np.ndarray]:
    """One episode by D4RL's keys, its last row marked as an end."""
    room.take("observations", (len(episode.rewards), flat_size(space, source)), 8)
    observations = flatten_rows(episode.observations, space, source)
    actions, steps = np.asarray(episode.actions), len(episode.rewards)
    for key, got, expected in (
        ("observations", len(observations), steps + 1),
        ("actions", len(actions), steps),
        ("terminations", len(episode.terminations), steps),
        ("truncations", len(episode.truncations), steps),
    ):
        if got != expected:
            raise DataError(
                f"got {got} in episode {episode.id} of {steps} rewards, expected {expected}",
                source=source,
                key=key,
                remedy="record or download it again",
            )
    terminals, timeouts = np.array(episode.terminations), np.array(episode.truncations)
    timeouts[-1:] |= ~(terminals[-1:] & terminals_end)
    return {
        "observations": observations[:-1],
        "actions": actions,
        "rewards": np.asarray(episode.rewards),
        "terminals": terminals,
        "timeouts": timeouts,
        "next_observations": observations[1:],
    }


def _join(episodes: list[dict[str, np.ndarray]], source: str) -> dict[str, np.ndarray]:
    """The episodes one after the other."""
    if not episodes:
        raise DataError(
            "got no episodes, expected at least one", source=source, remedy="record data"
        )
    for key, first in episodes[0].items():
        for number, episode in enumerate(episodes):
            if episode[key].shape[1:] != first.shape[1:]:
                raise DataError(
                    f"got rows of shape {episode[key].shape[1:]} in the episode at place {number}, "
                    f"expected {first.shape[1:]} as in the first one",
                    source=source,
                    key=key,
                    remedy="record or download it again",
                )
    return {key: np.concatenate([part[key] for part in episodes]) for key in episodes[0]}


@contextmanager
def _reading(source: str) -> Iterator[None]:
    """What Minari raises becomes a DataError."""
    try:
        from huggingface_hub.errors import HfHubHTTPError

        # The Hub's HTTP library differs by version; this is the root of its errors.
        network: type[BaseException] = HfHubHTTPError.__bases__[0]
    except ImportError:
        network = OSError
    try:
        yield
    except (DataError, MissingDependencyError):
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        network,
    ) as error:
        raise DataError(
            f"got no data set that Minari can read ({error!r}), expected an id, as "
            "mujoco/hopper/medium-v0, or the folder of a data set",
            source=source,
            remedy="see `minari list remote` for ids, install `scoreregs[d4rl]` for D4RL's names "
            "beyond the paper's, and delete a local one that is damaged",
        ) from error
