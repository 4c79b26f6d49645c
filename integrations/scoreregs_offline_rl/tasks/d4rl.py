"""Every fact of a task: names, files, environment, reference returns and the paper's settings."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from types import ModuleType
from typing import Literal
from urllib.parse import urlsplit

from scoreregs_offline_rl.tasks.ogbench import OGBenchTask

__all__ = [
    "EMBEDDED",
    "FAMILIES",
    "FILE_SUFFIXES",
    "KNOWN_MAKERS",
    "PAPER_TASKS",
    "TASKS",
    "D4RLTask",
    "Family",
    "PaperSettings",
    "ReferenceReturns",
    "d4rl_infos",
    "data_label",
    "family_of",
    "find_task",
    "paper_settings",
    "task_of_file",
]

FILE_SUFFIXES = (".hdf5", ".h5", ".npz")
"""Endings of the files that are read."""


@dataclass(frozen=True)
class ReferenceReturns:
    """Mean returns that define the scores 0 (`random`) and 100 (`expert`)."""

    random: float
    expert: float


@dataclass(frozen=True)
class Family:
    """What the tasks of one body share; `names` is the pattern of their names, in lower case."""

    references: ReferenceReturns
    names: str
    environment: str | None = None


@dataclass(frozen=True)
class PaperSettings:
    """What the paper sets by task: Table 2, and what Appendix C has otherwise for AntMaze.

    Attributes:
        beta: temperature of Table 2; None where the paper has none.
        expectile: of the state value.
        rewards: how they are scaled; None: as the data says.
        policy_layers: hidden layers of the policy.
        normalize: norm of the value's gradient that beta is relative to.
        beta_on: the factor that carries beta.
        advantage_scale: of advantage-weighted regression, in the paper's code.
    """

    beta: float | None = None
    expectile: float = 0.7
    rewards: Literal["return_range", "antmaze", "none"] | None = None
    policy_layers: int = 2
    normalize: Literal["l2", "rms"] | None = None
    beta_on: Literal["prior", "value"] = "prior"
    advantage_scale: float = 3.0


@dataclass(frozen=True)
class D4RLTask:
    """A data set of D4RL.

    Attributes:
        name: as `hopper-medium-v2`.
        url: where it was published.
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
        family = family_of(self.name)
        return (family and family.environment) or self.name


_KINDS = ("random", "medium", "expert", "medium-replay", "medium-expert", "full-replay")
_OF_BODY = rf"(-({'|'.join(_KINDS)}))?(-v[0-2])?"
# D4RL's (Fu et al., 2020), except pendulum: measured with `pendulum.swing_up_policy` and uniform
# random torque, 10,000 episodes each; standard errors 0.9 and 2.9. Walker2d-v5 has another foot
# friction than D4RL's; v4 has D4RL's dynamics. D4RL's ant has no counterpart in Gymnasium: what it
# observes of contacts is always 0.
FAMILIES = {
    "halfcheetah": Family(
        ReferenceReturns(-280.178953, 12135.0),
        rf"halfcheetah({_OF_BODY}|-v[345])",
        "HalfCheetah-v4",
    ),
    "hopper": Family(
        ReferenceReturns(-20.272305, 3234.3), rf"hopper({_OF_BODY}|-v[345])", "Hopper-v4"
    ),
    "walker2d": Family(
        ReferenceReturns(1.629008, 4592.3), rf"walker2d({_OF_BODY}|-v[345])", "Walker2d-v4"
    ),
    "ant": Family(ReferenceReturns(-325.6, 3879.7), rf"ant-({'|'.join(_KINDS)})(-v[0-2])?"),
    "antmaze": Family(
        ReferenceReturns(0.0, 1.0),
        r"antmaze(-eval)?-(umaze|medium|large)(-(play|diverse))?(-v[0-2])?"
        r"|antmaze-(umaze|medium|large)(-diverse-g|-diverse-gr)?-v[345]",
    ),
    "pendulum": Family(ReferenceReturns(-1225.6, -150.3), r"pendulum(-swingup|-v1)?"),
}
EMBEDDED = {"pendulum-swingup": "Pendulum-v1"}
# Whose registered environments our references are of.
KNOWN_MAKERS = ("gymnasium.", "gymnasium_robotics.", "scoreregs_offline_rl.")
_HOST = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+-v\d+")
_LOCOMOTION = {
    "walker2d-medium-expert": 0.1,
    "halfcheetah-medium-expert": 0.01,
    "hopper-medium-expert": 0.01,
    "walker2d-medium": 0.05,
    "halfcheetah-medium": 0.2,
    "hopper-medium": 0.05,
    "walker2d-medium-replay": 0.5,
    "halfcheetah-medium-replay": 0.2,
    "hopper-medium-replay": 0.2,
}
_ANTMAZE = {
    "umaze": (0.02, "u-maze_noisy_multistart_False_multigoal_False"),
    "umaze-diverse": (0.04, "u-maze_noisy_multistart_True_multigoal_True"),
    "medium-play": (0.08, "big-maze_noisy_multistart_True_multigoal_False"),
    "medium-diverse": (0.05, "big-maze_noisy_multistart_True_multigoal_True"),
    "large-play": (0.06, "hardest-maze_noisy_multistart_True_multigoal_False"),
    "large-diverse": (0.05, "hardest-maze_noisy_multistart_True_multigoal_True"),
}
_BETAS = _LOCOMOTION | {f"antmaze-{maze}": beta for maze, (beta, _) in _ANTMAZE.items()}


def _paper_tasks() -> dict[str, D4RLTask]:
    urls = {}
    for name in _LOCOMOTION:
        body, kind = name.split("-", 1)
        file = f"{body}_{kind.replace('-', '_')}-v2.hdf5"
        urls[f"{name}-v2"] = f"{_HOST}/gym_mujoco_v2/{file}"
    for maze, (_, file) in _ANTMAZE.items():
        urls[f"antmaze-{maze}-v2"] = f"{_HOST}/ant_maze_v2/Ant_maze_{file}_sparse_fixed.hdf5"
    return {name: D4RLTask(name, url) for name, url in urls.items()}


def _further_tasks() -> dict[str, D4RLTask]:
    tasks = {}
    for body in ("ant", "halfcheetah", "hopper", "walker2d"):
        for kind in _KINDS:
            url = f"{_HOST}/gym_mujoco_v2/{body}_{kind.replace('-', '_')}-v2.hdf5"
            tasks[f"{body}-{kind}-v2"] = D4RLTask(f"{body}-{kind}-v2", url)
    return tasks


PAPER_TASKS = _paper_tasks()
"""The 15 tasks of the paper's Table 1, by name."""
TASKS = _further_tasks() | PAPER_TASKS


def find_task(name: str) -> D4RLTask | None:
    """Returns the D4RL task of a name; None where it is none.

    D4RL's locomotion of version 2 and the paper's mazes are known; further names are those of the
    `d4rl` package, where it is installed.

    Args:
        name: as `hopper-medium-v2`.

    Example:
        >>> find_task("hopper-medium-replay-v2").file
        'hopper_medium_replay-v2.hdf5'
    """
    infos = d4rl_infos() if _NAME.fullmatch(name) else None
    if infos is not None and name in infos.DATASET_URLS:
        return D4RLTask(name, infos.DATASET_URLS[name])
    return TASKS.get(name)


def task_of_file(name: str) -> D4RLTask | None:
    """Returns the D4RL task of a file's name, as published or `<task>.hdf5`.

    Example:
        >>> task_of_file("hopper_medium-v2.hdf5").name, task_of_file("hopper-medium-v2.hdf5").name
        ('hopper-medium-v2', 'hopper-medium-v2')
    """
    published = {task.file: task for task in TASKS.values()}
    return published.get(name) or find_task(PurePath(name).stem)


def data_label(data: str) -> str:
    """Returns what a configuration's `data` is called: a file without folder and suffix.

    Example:
        >>> data_label("logs/robot.npz"), data_label("mujoco/hopper/medium-v0")
        ('robot', 'mujoco/hopper/medium-v0')
    """
    path = PurePath(data)
    return path.stem if path.suffix in FILE_SUFFIXES else data


def paper_settings(data: str) -> PaperSettings:
    """Returns the paper's settings for a configuration's `data`, Appendix C's for any other.

    A file is recognised by its name, and AntMaze, beyond the paper's tasks too, by the word. Tasks
    of OGBench, which are as sparse, take AntMaze's settings, but for rewards: theirs are 0 at the
    goal and negative elsewhere as they are.

    Args:
        data: the name, file or id.

    Example:
        >>> paper_settings("data/hopper_medium-v2.hdf5").beta, paper_settings("my-robot.npz").beta
        (0.05, None)
        >>> paper_settings("antmaze-umaze-v2").expectile
        0.9
    """
    published = task_of_file(PurePath(data).name)
    beta = _BETAS.get(re.sub(r"-v\d+$", "", published.name if published else data_label(data)))
    of_ogbench = OGBenchTask.find(PurePath(data_label(data)).name) is not None
    if not of_ogbench and "antmaze" not in data_label(data).lower():
        return PaperSettings(beta)
    return PaperSettings(
        beta,
        expectile=0.9,
        rewards="none" if of_ogbench else "antmaze",
        policy_layers=4,
        normalize="rms",
        beta_on="value",
        advantage_scale=10.0,
    )


def family_of(name: str) -> Family | None:
    """Returns the family of a task or environment by its name; None where it has none."""
    plain = name.lower().replace("_", "-")
    families = FAMILIES.values()
    return next((family for family in families if re.fullmatch(family.names, plain)), None)


@cache
def d4rl_infos() -> ModuleType | None:
    """Returns `d4rl.infos`, URLs and reference returns by task; None where there is none.

    It is run by itself, without the package around it, which imports gym, PyBullet and mujoco-py
    and needs a MuJoCo 2.1 that is seldom there.
    """
    package = importlib.util.find_spec("d4rl")
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0]) / "infos.py" if folders else None
    if path is None or not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location("d4rl.infos", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
