"""D4RL's tasks: names, files, where they were published, and how long their episodes are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import urlsplit

from scoreregs_offline_rl.data.d4rl_package import d4rl_infos
from scoreregs_offline_rl.evaluation.scores import environment_for

__all__ = [
    "FILE_SUFFIXES",
    "PAPER_TASKS",
    "D4RLTask",
    "data_label",
    "find_task",
    "step_limit",
    "task_of_file",
]

FILE_SUFFIXES = (".hdf5", ".h5", ".npz")
"""Endings of the files that are read."""

_HOST = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+-v\d+")
_ANTMAZE = {
    "umaze": "u-maze_noisy_multistart_False_multigoal_False",
    "umaze-diverse": "u-maze_noisy_multistart_True_multigoal_True",
    "medium-play": "big-maze_noisy_multistart_True_multigoal_False",
    "medium-diverse": "big-maze_noisy_multistart_True_multigoal_True",
    "large-play": "hardest-maze_noisy_multistart_True_multigoal_False",
    "large-diverse": "hardest-maze_noisy_multistart_True_multigoal_True",
}


@dataclass(frozen=True)
class D4RLTask:
    """A data set of D4RL.

    Attributes:
        name: As `hopper-medium-v2`.
        url: Where it was published.
    """

    name: str
    url: str

    @property
    def file(self) -> str:
        """Name of the file, the end of the URL."""
        return PurePath(urlsplit(self.url).path).name

    @property
    def environment(self) -> str:
        """Gymnasium id of the environment with D4RL's dynamics; the task's name if it has none."""
        return environment_for(self.name)


def _paper_tasks() -> dict[str, D4RLTask]:
    urls = {
        f"{body}-{kind}-v2": f"{_HOST}/gym_mujoco_v2/{body}_{kind.replace('-', '_')}-v2.hdf5"
        for body in ("halfcheetah", "hopper", "walker2d")
        for kind in ("medium", "medium-replay", "medium-expert")
    } | {
        f"antmaze-{maze}-v2": f"{_HOST}/ant_maze_v2/Ant_maze_{file}_sparse_fixed.hdf5"
        for maze, file in _ANTMAZE.items()
    }
    return {name: D4RLTask(name, url) for name, url in urls.items()}


PAPER_TASKS = _paper_tasks()
"""The 15 tasks of the paper's Table 1, by name; further ones are those of the `d4rl` package."""


def find_task(name: str) -> D4RLTask | None:
    """The D4RL task of a name; None where neither the paper nor an installed `d4rl` has it.

    Example:
        >>> find_task("hopper-medium-replay-v2").file
        'hopper_medium_replay-v2.hdf5'
    """
    infos = d4rl_infos() if _NAME.fullmatch(name) else None
    if infos is not None and name in infos.DATASET_URLS:
        return D4RLTask(name, infos.DATASET_URLS[name])
    return PAPER_TASKS.get(name)


def task_of_file(name: str) -> D4RLTask | None:
    """The D4RL task of a file's name, as published or `<task>.hdf5`.

    Example:
        >>> task_of_file("hopper_medium-v2.hdf5").name, task_of_file("hopper-medium-v2.hdf5").name
        ('hopper-medium-v2', 'hopper-medium-v2')
    """
    published = {task.file: task for task in PAPER_TASKS.values()}
    return published.get(name) or find_task(PurePath(name).stem)


def data_label(data: str) -> str:
    """What a configuration's `data` is called: a file without folder and suffix, a name as it is.

    Example:
        >>> data_label("logs/robot.npz"), data_label("mujoco/hopper/medium-v0")
        ('robot', 'mujoco/hopper/medium-v0')
    """
    path = PurePath(data)
    return path.stem if path.suffix in FILE_SUFFIXES else data


def step_limit(name: str | None) -> int | None:
    """Steps after which an episode is cut, of a D4RL task or a Gymnasium id, where known.

    Example:
        >>> step_limit("antmaze-umaze-v2"), step_limit("Pendulum-v1"), step_limit("mine")
        (700, 200, None)
    """
    if name in PAPER_TASKS:
        return 700 if name.startswith("antmaze-umaze") else 1000
    try:
        import gymnasium
    except ImportError:
        return None
    spec = gymnasium.registry.get(name or "")
    return None if spec is None else spec.max_episode_steps
