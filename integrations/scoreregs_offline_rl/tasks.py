"""Every fact of a task: names, files, environments, reference returns and the paper's settings."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, Literal
from urllib.parse import urlsplit

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.environments.ogbench import OGBenchTask
from scoreregs_offline_rl.environments.recorded import RecordedEnvironment

__all__ = [
    "FILE_SUFFIXES",
    "PAPER_TASKS",
    "D4RLTask",
    "PaperSettings",
    "ReferenceReturns",
    "d4rl_infos",
    "data_label",
    "environment_for",
    "find_task",
    "normalized_score",
    "paper_settings",
    "reference_returns",
    "scored_by_success",
    "step_limit",
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
class _Family:
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
        rewards: how they are scaled.
        policy_layers: hidden layers of the policy.
        normalize: norm of the value's gradient that beta is relative to.
        beta_on: the factor that carries beta.
        advantage_scale: of advantage-weighted regression, in the paper's code.
    """

    beta: float | None = None
    expectile: float = 0.7
    rewards: Literal["return_range", "antmaze", "none"] = "return_range"
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
        return environment_for(self.name)


_KINDS = ("random", "medium", "expert", "medium-replay", "medium-expert", "full-replay")
_OF_BODY = rf"(-({'|'.join(_KINDS)}))?(-v[0-2])?"
# D4RL's (Fu et al., 2020), except pendulum: measured with `pendulum.swing_up_policy` and uniform
# random torque, 10,000 episodes each; standard errors 0.9 and 2.9. Walker2d-v5 has another foot
# friction than D4RL's; v4 has D4RL's dynamics. D4RL's ant has no counterpart in Gymnasium: what it
# observes of contacts is always 0.
_FAMILIES = {
    "halfcheetah": _Family(
        ReferenceReturns(-280.178953, 12135.0),
        rf"halfcheetah({_OF_BODY}|-v[345])",
        "HalfCheetah-v4",
    ),
    "hopper": _Family(
        ReferenceReturns(-20.272305, 3234.3), rf"hopper({_OF_BODY}|-v[345])", "Hopper-v4"
    ),
    "walker2d": _Family(
        ReferenceReturns(1.629008, 4592.3), rf"walker2d({_OF_BODY}|-v[345])", "Walker2d-v4"
    ),
    "ant": _Family(ReferenceReturns(-325.6, 3879.7), rf"ant-({'|'.join(_KINDS)})(-v[0-2])?"),
    "antmaze": _Family(
        ReferenceReturns(0.0, 1.0),
        r"antmaze(-eval)?-(umaze|medium|large)(-(play|diverse))?(-v[0-2])?"
        r"|antmaze-(umaze|medium|large)(-diverse-g|-diverse-gr)?-v[345]",
    ),
    "pendulum": _Family(ReferenceReturns(-1225.6, -150.3), r"pendulum(-swingup|-v1)?"),
}
_EMBEDDED = {"pendulum-swingup": "Pendulum-v1"}
# Whose registered environments our references are of.
_KNOWN_MAKERS = ("gymnasium.", "gymnasium_robotics.", "scoreregs_offline_rl.")
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
_TASKS = _further_tasks() | PAPER_TASKS


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
    return _TASKS.get(name)


def task_of_file(name: str) -> D4RLTask | None:
    """Returns the D4RL task of a file's name, as published or `<task>.hdf5`.

    Example:
        >>> task_of_file("hopper_medium-v2.hdf5").name, task_of_file("hopper-medium-v2.hdf5").name
        ('hopper-medium-v2', 'hopper-medium-v2')
    """
    published = {task.file: task for task in _TASKS.values()}
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


def environment_for(name: str) -> str:
    """Returns the Gymnasium id of a data set's name; an id is given back as it is.

    An id that the user has registered is the user's, whatever it begins with.

    Args:
        name: of a data set, or an environment as `RecordedEnvironment` writes it.

    Example:
        >>> environment_for("hopper-medium-expert-v2"), environment_for("Hopper-v5")
        ('Hopper-v4', 'Hopper-v5')
        >>> environment_for("pendulum-swingup"), environment_for("hopper-heavy-v0")
        ('Pendulum-v1', 'hopper-heavy-v0')
    """
    if _registered(name):
        return name
    if name in _EMBEDDED:
        return _EMBEDDED[name]
    if (task := OGBenchTask.find(name)) is not None:
        return task.environment or name
    # Gymnasium's ids begin with a capital; D4RL's names do not.
    family = _family(name) if name == name.lower() else None
    return name if family is None or family.environment is None else family.environment


def step_limit(name: str | None) -> int | None:
    """Returns the steps after which an episode of a D4RL task or environment is cut, if known.

    Args:
        name: the task's, or an environment as `RecordedEnvironment` writes it.

    Example:
        >>> step_limit("antmaze-umaze-v2"), step_limit("Pendulum-v1"), step_limit("mine")
        (700, 200, None)
    """
    if name is None:
        return None
    if name in _TASKS:
        return 700 if name.startswith("antmaze-umaze") else 1000
    recorded = RecordedEnvironment.parse(name)
    if recorded.max_episode_steps is not None:
        return recorded.max_episode_steps
    try:
        import gymnasium
    except ImportError:
        return None
    spec = gymnasium.registry.get(recorded.id)
    return None if spec is None else spec.max_episode_steps


def reference_returns(name: str) -> ReferenceReturns | None:
    """Returns the reference returns of a data set's name or an environment; None if it has none.

    Those that a data set carries come first. D4RL's belong to its own names and to Gymnasium's
    environments as they are: one with other keyword arguments, or one that the user has registered,
    has none of them. Those of further D4RL data sets come from the `d4rl` package, where it is
    installed.

    Args:
        name: a data set's name, or an environment as `RecordedEnvironment` writes it.
    """
    recorded = RecordedEnvironment.parse(name)
    if recorded.references is not None:
        return ReferenceReturns(*recorded.references)
    # An environment of the user's may have any name, so its references cannot be known.
    if str(recorded) != recorded.id or not (_maker(name) or "gymnasium.").startswith(_KNOWN_MAKERS):
        return None
    if found := _family(name):
        return found.references
    infos = d4rl_infos()
    if infos is None or name not in infos.REF_MIN_SCORE:
        return None
    return ReferenceReturns(infos.REF_MIN_SCORE[name], infos.REF_MAX_SCORE[name])


def scored_by_success(environment: str) -> bool:
    """Returns whether an environment's score is the share of episodes that succeed, in percent.

    It is for the tasks of OGBench, whose returns count the steps to the goal.

    Args:
        environment: as `RecordedEnvironment` writes it.

    Example:
        >>> scored_by_success("pointmaze-medium-singletask-v0"), scored_by_success("Hopper-v5")
        (True, False)
    """
    name = RecordedEnvironment.parse(environment).id
    return OGBenchTask.is_environment(name) and (_maker(name) or "ogbench.").startswith("ogbench.")


def _family(name: str) -> _Family | None:
    plain = name.lower().replace("_", "-")
    families = _FAMILIES.values()
    return next((family for family in families if re.fullmatch(family.names, plain)), None)


def _registered(name: str) -> Any:
    """The specification that a name is registered with; nobody registers without Gymnasium."""
    gymnasium = sys.modules.get("gymnasium")
    return None if gymnasium is None else gymnasium.registry.get(name)


def _maker(name: str) -> str:
    """The module that makes an environment, with a dot at its end; empty if it is not known."""
    spec = _registered(name)
    if spec is None:
        return ""
    module = getattr(spec.entry_point, "__module__", None) or str(spec.entry_point)
    return f"{module.split(':')[0]}."


def normalized_score(return_: float, name: str) -> float:
    """Returns 100 (return - random) / (expert - random), D4RL's normalised score.

    Args:
        return_: an undiscounted return, or a mean of them.
        name: a data set's name, or an environment as `RecordedEnvironment` writes it.

    Raises:
        ArgumentError: the task has no reference returns.

    Example:
        >>> round(normalized_score(3234.3, "hopper-medium-v2"), 1)
        100.0
    """
    reference = reference_returns(name)
    if reference is None:
        raise ArgumentError(
            f"got {name!r}, expected a task with reference returns ({', '.join(_FAMILIES)}): "
            "compare plain returns instead"
        )
    return 100.0 * (return_ - reference.random) / (reference.expert - reference.random)


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
