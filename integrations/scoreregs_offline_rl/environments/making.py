"""Environments that a policy can be evaluated in, by their Gymnasium id."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl.tasks import environment_for

if TYPE_CHECKING:
    import gymnasium

__all__ = ["action_bounds", "make_environment"]


def action_bounds(environment: str) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest action of an environment, two float32 arrays of shape (a,).

    Raises:
        ArgumentError: As `evaluate`.
        MissingDependencyError: Gymnasium is not installed.

    Example:
        >>> action_bounds("pendulum-swingup")
        (array([-2.], dtype=float32), array([2.], dtype=float32))
    """
    made = make_environment(environment_for(environment))
    try:
        space: Any = made.action_space
        return space.low.astype(np.float32), space.high.astype(np.float32)
    finally:
        made.close()


def make_environment(environment: str, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """Make an environment that a policy can be evaluated in.

    Args:
        environment: Gymnasium id.
        render_mode: Gymnasium's; None draws nothing.

    Raises:
        ArgumentError: See `evaluate`.
        MissingDependencyError: Gymnasium, or for D4RL's AntMaze Gymnasium-Robotics, is not
            installed.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise MissingDependencyError("gymnasium", "offline-rl") from error
    if environment.startswith("antmaze-"):
        from scoreregs_offline_rl.environments.antmaze_tasks import register_antmaze

        register_antmaze()
    try:
        with warnings.catch_warnings():
            # D4RL's tasks have the dynamics of v4, whatever is newer.
            warnings.filterwarnings("ignore", ".*is out of date", DeprecationWarning)
            made = gymnasium.make(environment, render_mode=render_mode)
    except MissingDependencyError:
        raise
    except (gymnasium.error.Error, ImportError) as error:
        raise ArgumentError(
            f"got environment {environment!r}, expected a Gymnasium id that can be made here: "
            f"{error}"
        ) from error
    box = gymnasium.spaces.Box
    observation_space, action_space = made.observation_space, made.action_space
    suited = (
        isinstance(observation_space, box)
        and isinstance(action_space, box)
        and len(observation_space.shape) == len(action_space.shape) == 1
        and action_space.is_bounded()
    )
    if not suited:
        raise ArgumentError(
            f"got {environment} with spaces {observation_space} and {action_space}, expected flat "
            "boxes, the actions bounded: wrap the environment and register it under another id"
        )
    if made.spec is None or made.spec.max_episode_steps is None:
        raise ArgumentError(
            f"got {environment} without a time limit, expected one: register it with "
            "`max_episode_steps`"
        )
    return made
