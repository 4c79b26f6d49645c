"""From the name of some data, whatever it is, to its transitions."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.data.d4rl_data import load_d4rl
from scoreregs_offline_rl.data.download import DownloadProgress, no_download_progress
from scoreregs_offline_rl.data.hdf5 import load_hdf5
from scoreregs_offline_rl.data.lerobot_data import is_lerobot_folder, load_lerobot
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.minari_data import is_minari_folder, load_minari
from scoreregs_offline_rl.data.npz import load_npz
from scoreregs_offline_rl.data.ogbench_data import load_ogbench
from scoreregs_offline_rl.data.pendulum import load_pendulum_swingup
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks import FILE_SUFFIXES, PAPER_TASKS, find_task
from scoreregs_offline_rl.tasks.ogbench import OGBenchTask

__all__ = ["SOURCES", "DataSource", "describe_sources", "load_data"]

_EMBEDDED = "pendulum-swingup"
_MINARI_ID = re.compile(r"([\w-]+/)*[\w-]+-v\d+")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class DataSource:
    """A kind of data that is read: its row drives the command line, the documentation and tests.

    Attributes:
        name: what stands before the colon where a name could be of several kinds.
        what: what `--data` then is, for people.
        example: a name of this kind.
        matches: whether a name is of this kind.
        load: what reads it, given the name, a `LoadingConfig` and `progress`.
        extra: the extra of `scoreregs` that it needs.
    """

    name: str
    what: str
    example: str
    matches: Callable[[str], bool]
    load: Callable[..., Transitions]
    extra: str = "offline-rl"


def _path(name: str) -> Path:
    return Path(name).expanduser()


def _is_ogbench(name: str) -> bool:
    path = _path(name)
    return OGBenchTask.find(path.stem if path.suffix == ".npz" else name) is not None


SOURCES = (
    DataSource(
        "pendulum",
        "the embedded data set",
        _EMBEDDED,
        lambda name: name == _EMBEDDED,
        lambda name, config=None, *, progress: load_pendulum_swingup(config=config),
    ),
    DataSource(
        "minari-folder",
        "the folder of a Minari data set",
        "datasets/mine/own-v0",
        lambda name: is_minari_folder(_path(name)),
        load_minari,
        "minari",
    ),
    DataSource(
        "lerobot-folder",
        "the folder of a LeRobot data set",
        "datasets/pick-cube",
        lambda name: is_lerobot_folder(_path(name)),
        load_lerobot,
        "lerobot",
    ),
    DataSource(
        "ogbench",
        "an OGBench name with its task",
        "pointmaze-medium-navigate-singletask-task1-v0",
        _is_ogbench,
        load_ogbench,
        "ogbench",
    ),
    DataSource(
        "npz",
        "an NPZ file",
        "log.npz",
        lambda name: _path(name).suffix == ".npz",
        lambda name, config=None, *, progress: load_npz(_path(name), config),
    ),
    DataSource(
        "hdf5",
        "an HDF5 file in D4RL's layout",
        "hopper_medium-v2.hdf5",
        lambda name: _path(name).is_file() or _path(name).suffix in FILE_SUFFIXES,
        lambda name, config=None, *, progress: load_hdf5(_path(name), config),
    ),
    DataSource(
        "d4rl",
        "a D4RL name",
        "hopper-medium-v2",
        lambda name: find_task(name) is not None,
        load_d4rl,
    ),
    DataSource(
        "minari",
        "a Minari id",
        "mujoco/hopper/medium-v0",
        lambda name: not _path(name).exists() and _MINARI_ID.fullmatch(name) is not None,
        load_minari,
        "minari",
    ),
    DataSource(
        "lerobot",
        "a LeRobot id on the Hub",
        "lerobot/pusht",
        lambda name: not _path(name).exists() and _HUB_ID.fullmatch(name) is not None,
        load_lerobot,
        "lerobot",
    ),
)
"""What is read, in the order in which a name is tried."""


def describe_sources() -> str:
    """Returns what a name of data can be, in one sentence with an example of each.

    Example:
        >>> describe_sources()[:77]
        'the embedded data set (pendulum-swingup), the folder of a Minari data set (da'
    """
    kinds = [f"{source.what} ({source.example})" for source in SOURCES]
    return f"{', '.join(kinds[:-1])} or {kinds[-1]}"


@named_calls
def load_data(
    source: str | os.PathLike[str],
    config: LoadingConfig | None = None,
    *,
    progress: DownloadProgress = no_download_progress,
) -> Transitions:
    """Returns transitions from any source that there is a reader for.

    Args:
        source: one of `SOURCES`, by a name, id, file or folder as there; a name that could be of
            several follows the kind and a colon, as `lerobot:me/arm-v2`, which is read as a Minari
            id without that. For arrays in memory there is `Transitions.from_arrays`.
        config: how to read it.
        progress: told of a download from D4RL's or OGBench's host or a mirror.

    Raises:
        DataError: where it is none of these, or cannot be used.
        MissingDependencyError: where the package that reads it is not installed.

    Example:
        >>> data = load_data("pendulum-swingup")
        >>> len(data), data.observations.shape[1], data.environment
        (90000, 3, 'Pendulum-v1')
    """
    name = os.fspath(source)
    kind, colon, rest = name.partition(":")
    for known in SOURCES:
        if colon and known.name == kind and not _path(name).exists():
            return known.load(rest, config, progress=progress)
    if _path(name).suffix == ".parquet":
        raise DataError(
            "got one file of parquet, expected the folder of the LeRobot data set around it",
            source=name,
            remedy="give the folder that holds meta/info.json",
        )
    near = difflib.get_close_matches(name, [*PAPER_TASKS, _EMBEDDED], n=3, cutoff=0.8)
    for known in SOURCES:
        if known.matches(name) and not (near and known.name in ("minari", "lerobot")):
            return known.load(name, config, progress=progress)
    raise DataError(
        f"got {name!r}, which is no file and no known name",
        remedy=f"did you mean {' or '.join(near)}?" if near else f"expected {describe_sources()}",
    )
