"""A task's environment: its Gymnasium id, its limit, and what its returns are worth."""

from __future__ import annotations

import sys
from typing import Any

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.tasks.d4rl import (
    EMBEDDED,
    FAMILIES,
    KNOWN_MAKERS,
    TASKS,
    ReferenceReturns,
    d4rl_infos,
    family_of,
)
from scoreregs_offline_rl.tasks.ogbench import OGBenchTask
from scoreregs_offline_rl.tasks.recorded import RecordedEnvironment

__all__ = [
    "environment_for",
    "normalized_score",
    "reference_returns",
    "scored_by_success",
    "step_limit",
]


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
    if name in EMBEDDED:
        return EMBEDDED[name]
    if (task := OGBenchTask.find(name)) is not None:
        return task.environment or name
    # Gymnasium's ids begin with a capital; D4RL's names do not.
    family = family_of(name) if name == name.lower() else None
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
    if name in TASKS:
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
    if str(recorded) != recorded.id or not _is_as_known(name):
        return None
    if found := family_of(name):
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


def _registered(name: str) -> Any:
    """The specification that a name is registered with; nobody registers without Gymnasium."""
    gymnasium = sys.modules.get("gymnasium")
    return None if gymnasium is None else gymnasium.registry.get(name)


def _is_as_known(name: str) -> bool:
    """Whether a name is registered as it usually is, or not at all."""
    maker = _maker(name) or "gymnasium."
    if not maker.startswith(KNOWN_MAKERS):
        return False
    spec = _registered(name)
    # Of old versions Gymnasium has a function that says that they are gone.
    if spec is None or callable(spec.entry_point) or not maker.startswith("gymnasium."):
        return True
    # Gymnasium's own ids begin with a capital, and say the module and the version that make them.
    family, version = family_of(name), name.rpartition("-v")[2]
    usual = maker.endswith(f"_v{version}.") or family is FAMILIES["pendulum"]
    limit = spec.max_episode_steps == _usual_limit(name)
    return name != name.lower() and not spec.kwargs and usual and limit


def _usual_limit(name: str) -> int:
    return 200 if family_of(name) is FAMILIES["pendulum"] else 1000


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
            f"got {name!r}, expected a task with reference returns ({', '.join(FAMILIES)}): "
            "compare plain returns instead"
        )
    return 100.0 * (return_ - reference.random) / (reference.expert - reference.random)
