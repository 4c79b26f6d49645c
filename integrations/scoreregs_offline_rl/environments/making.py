"""Environments that a policy can be evaluated in."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl.tasks import environment_for
from scoreregs_offline_rl.tasks.ogbench import OGBenchTask
from scoreregs_offline_rl.tasks.recorded import RecordedEnvironment

if TYPE_CHECKING:
    import gymnasium

__all__ = ["action_bounds", "leave_intervals", "make_environment", "spaces_of"]

# Of what a data set may name to be run, beside the package of its own registered environment.
_TRUSTED_WRAPPERS = ("gymnasium", "gymnasium_robotics", "minari")


def action_bounds(environment: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest and highest action of an environment, two float32 arrays of shape (a,).

    Args:
        environment: a data set's name, or as of `make_environment`.

    Raises:
        ArgumentError: as `evaluate`.
        MissingDependencyError: unless Gymnasium is installed.

    Example:
        >>> action_bounds("pendulum-swingup")
        (array([-2.], dtype=float32), array([2.], dtype=float32))
    """
    return spaces_of(environment)[1:]


def spaces_of(environment: str) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns the size of an environment's observations, and its action bounds.

    Args:
        environment: as of `action_bounds`, which says what is raised.
    """
    made = make_environment(environment_for(environment))
    try:
        seen, space = made.observation_space.shape, cast(Any, made.action_space)
        size = int(np.prod(seen)) if seen is not None else 0
        return size, space.low.astype(np.float32), space.high.astype(np.float32)
    finally:
        made.close()


def leave_intervals(low: ArrayLike, high: ArrayLike) -> bool:
    """Returns whether every low lies below its high, as float32 holds them, which are trained with.

    Example:
        >>> leave_intervals([-1.0, 0.0], [1.0, 2.0]), leave_intervals([1.0], [1.0 + 1e-9])
        (True, False)
    """
    with np.errstate(over="ignore"):
        lowest, highest = np.array(low, np.float32), np.array(high, np.float32)
        return bool(((lowest < highest) & np.isfinite(highest - lowest)).all())


def make_environment(environment: str, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """Returns an environment that a policy can be evaluated in.

    Observations that are no flat box are flattened as Gymnasium's `FlattenObservation` does, like
    those of data sets.

    Args:
        environment: Gymnasium's id, or more as `RecordedEnvironment` writes it. What the id is
            registered with here is made, never what a data set says that it is.
        render_mode: Gymnasium's; None draws nothing.

    Raises:
        ArgumentError: see `evaluate`.
        MissingDependencyError: unless Gymnasium is installed, and Gymnasium-Robotics for D4RL's
            AntMaze, `ogbench` for its tasks.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise MissingDependencyError("gymnasium", "offline-rl") from error
    recorded = RecordedEnvironment.parse(environment)
    _register(recorded.id)
    try:
        with warnings.catch_warnings():
            # D4RL's tasks have the dynamics of v4, whatever is newer.
            warnings.filterwarnings("ignore", ".*is out of date", DeprecationWarning)
            warnings.filterwarnings("ignore", ".*precision lowered by casting", UserWarning)
            made = gymnasium.make(
                recorded.id,
                max_episode_steps=recorded.max_episode_steps,
                render_mode=render_mode,
                **recorded.kwargs,
            )
        for wrapper in recorded.wrappers:
            made = _wrapped(made, wrapper)
    except (ArgumentError, MissingDependencyError):
        raise
    except (gymnasium.error.Error, ImportError, TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(
            f"got environment {environment!r}, expected a Gymnasium id that can be made here: "
            f"{error}: install or import the package that registers it"
        ) from error
    return _checked(made, environment)


def _checked(made: gymnasium.Env[Any, Any], environment: str) -> gymnasium.Env[Any, Any]:
    """Returns the environment with flat observations."""
    from gymnasium import spaces, wrappers

    space = made.action_space
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        raise ArgumentError(
            f"got {environment} with discrete actions, {space}, expected continuous ones: the "
            "policy and the diffusion model are of continuous actions, discrete ones are not "
            "supported"
        )
    observed = made.observation_space
    if not (isinstance(observed, spaces.Box) and len(observed.shape) == 1):
        if not observed.is_np_flattenable:
            raise ArgumentError(
                f"got {environment} with observations {observed}, expected a space that flattens "
                "to numbers: wrap the environment and register it under another id"
            )
        made = wrappers.FlattenObservation(made)
    if not (isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded()):
        raise ArgumentError(
            f"got {environment} with actions {space}, expected a flat bounded box: wrap the "
            "environment and register it under another id"
        )
    if not leave_intervals(space.low, space.high):
        raise ArgumentError(
            f"got {environment} with actions from {space.low.tolist()} to {space.high.tolist()}, "
            "expected each low below its high, as float32 holds them: wrap the environment, "
            "without what never changes, and register it under another id"
        )
    if made.spec is None or made.spec.max_episode_steps is None:
        raise ArgumentError(
            f"got {environment} without a time limit, expected one: register it with "
            "`max_episode_steps`"
        )
    return made


def _register(name: str) -> None:
    """Makes an id known that a package registers when it is imported."""
    import gymnasium

    if name in gymnasium.registry:
        return
    if name.startswith("antmaze-"):
        from scoreregs_offline_rl.environments.antmaze_tasks import register_antmaze

        register_antmaze()
    if OGBenchTask.is_environment(name):
        try:
            # Its renderer complains of a missing display.
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                importlib.import_module("ogbench")
        except ImportError as error:
            raise MissingDependencyError("ogbench", "ogbench") from error
    elif name not in gymnasium.registry and importlib.util.find_spec("gymnasium_robotics"):
        with contextlib.redirect_stderr(io.StringIO()):
            importlib.import_module("gymnasium_robotics")


def _wrapped(made: gymnasium.Env[Any, Any], wrapper: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """Returns the environment in a wrapper of the recording, if it is of a package we trust."""
    entry_point, spec = wrapper["entry_point"], made.spec
    module, _, name = entry_point.partition(":")
    own = str(spec.entry_point).split(":")[0].split(".")[0] if spec is not None else ""
    if module.split(".")[0] not in (*_TRUSTED_WRAPPERS, own) or not name:
        raise ArgumentError(
            f"got a data set that names the wrapper {entry_point!r}, expected one of "
            f"{', '.join(filter(None, (*_TRUSTED_WRAPPERS, own)))}: what a file names is not run; "
            "register the wrapped environment under an id of its own and give that with "
            "--evaluation.environment"
        )
    made_in: Any = getattr(importlib.import_module(module), name)
    return made_in(made, **wrapper.get("kwargs", {}))
