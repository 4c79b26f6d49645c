"""A task whose data goes both ways: a point has to pass an obstacle on its way to the goal.

Importing this registers `scoreregs/Fork-v0`; `record` gives data of it, of mixed quality.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

__all__ = ["ENVIRONMENT", "GOAL", "GOAL_RADIUS", "OBSTACLE_RADIUS", "Fork", "move", "record"]

ENVIRONMENT = "scoreregs/Fork-v0"
GOAL, GOAL_RADIUS = np.array([1.0, 0.0]), 0.2
# Around the origin.
OBSTACLE_RADIUS = 0.35
STEPS, SPEED = 30, 0.2

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def starts(count: int, generator: np.random.Generator) -> Array:
    """Returns positions on the left of the obstacle, (count, 2)."""
    return np.array([-1.3, 0.0]) + 0.03 * generator.standard_normal((count, 2))


def move(position: Array, action: Array) -> tuple[Array, Flags, Flags]:
    """Returns positions (n, 2) after a step, and which are at the goal and in the obstacle.

    Args:
        position: shape (n, 2).
        action: velocity in [-1, 1], shape (n, 2).
    """
    position = np.clip(position + SPEED * action, -1.5, 1.5)
    reached = np.linalg.norm(position - GOAL, axis=1) < GOAL_RADIUS
    return position, reached, np.linalg.norm(position, axis=1) < OBSTACLE_RADIUS


class Fork(gymnasium.Env[Array, Array]):
    """A point sees its position and chooses its velocity; the return is 1 at the goal, else 0."""

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = Box(-1.5, 1.5, (2,), np.float64)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)  # pyright: ignore

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Returns where the point starts."""
        super().reset(seed=seed, options=options)
        self.position = starts(1, self.np_random)[0]
        return self.position, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Moves the point; an episode ends at the goal and in the obstacle."""
        moved, reached, crashed = move(self.position[None], np.asarray(action)[None])
        self.position = moved[0]
        return self.position, float(reached[0]), bool(reached[0] | crashed[0]), False, {}


gymnasium.register(ENVIRONMENT, "examples.fork:Fork", max_episode_steps=STEPS)


def record(episodes: int, seed: int) -> dict[str, NDArray[Any]]:
    """Returns episodes as arrays by D4RL's keys, one after the other.

    Each episode has a lane before the obstacle, a side of it, a berth and a speed of its own, which
    are not recorded. A narrow berth may end in the obstacle.

    Args:
        episodes: how many.
        seed: of all that is random.
    """
    generator = np.random.default_rng(seed)
    position, running = starts(episodes, generator), np.ones(episodes, dtype=bool)
    speed = generator.uniform(0.5, 0.9, episodes)
    berth = generator.uniform(0.4, 0.9, episodes) * generator.choice([-1.0, 1.0], episodes)
    lane = generator.uniform(-0.3, 0.3, episodes)
    before, beside = (
        np.stack([np.full(episodes, x), y], axis=1) for x, y in ((-0.6, lane), (0.0, berth))
    )
    columns: dict[str, list[NDArray[Any]]] = {}
    for step in range(STEPS):
        x = position[:, :1]
        target = np.where(x < -0.7, before, np.where(x < -0.1, beside, GOAL))
        way = target - position
        way *= speed[:, None] / np.linalg.norm(way, axis=1, keepdims=True)
        action = (way + 0.1 * generator.standard_normal(way.shape)).clip(-1, 1)
        moved, reached, crashed = move(position, action)
        cut = np.full(episodes, step == STEPS - 1) & ~(reached | crashed)
        rows = {
            "observations": position,
            "actions": action,
            "rewards": reached.astype(np.float64),
            "terminals": reached | crashed,
            "timeouts": cut,
            "next_observations": moved,
            "recorded": running,
        }
        for key, row in rows.items():
            columns.setdefault(key, []).append(row)
        position, running = moved, running & ~(reached | crashed)
    stacked = {key: np.stack(rows, axis=1) for key, rows in columns.items()}
    recorded = stacked.pop("recorded")
    return {key: array[recorded] for key, array in stacked.items()}
