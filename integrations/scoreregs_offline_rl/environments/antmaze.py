"""D4RL's AntMaze tasks in the simulation of Gymnasium-Robotics."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from typing_extensions import override

__all__ = ["D4RLAntMaze"]

_RADIUS = 0.5
_JOINTS = 15
_FEATURES = 29


class D4RLAntMaze(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An AntMaze of Gymnasium-Robotics with what D4RL's of version 2 shows, starts from and pays.

    The observation is D4RL's 29 numbers: x and y from the start (achieved goal), then 13 further
    positions and 14 velocities (observation). An episode starts near rest at the start and has one
    goal, in the goal's cell; the reward is 1, and the episode ends, at most 0.5 from it. So the
    return is 1 for success and 0 else, which D4RL's score multiplies by 100.

    Args:
        env: without contact forces in its observation, not continuing, with the start's cell as the
            only one that it resets to.
        start: centre of that cell, (x, y) in `env`.
        goal: centre of the goal's cell, (x, y) from the start.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        start: np.ndarray,
        goal: np.ndarray,
    ) -> None:
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (_FEATURES,), np.float64)
        # Of films: a step is a tenth of a second.
        self.metadata = {**env.metadata, "render_fps": 10}
        self._maze: Any = env.unwrapped
        # The maze moves what it resets by this times 4, evenly: D4RL's 0.1.
        self._maze.position_noise_range = 0.025
        self._rest = self._maze.ant_env.init_qpos.copy()
        self._start, self._cell, self._goal = start, goal, goal
        self._random = np.random.default_rng()

    @override
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns the first observation of an episode with a goal of its own."""
        if seed is not None:
            self._random = np.random.default_rng(seed)
        uniform, ant = self._random.uniform, self._maze.ant_env
        ant.init_qpos[2:] = self._rest[2:] + uniform(-0.1, 0.1, _JOINTS - 2)
        ant.init_qvel[:] = 0.1 * self._random.standard_normal(_FEATURES - _JOINTS)
        observation, info = self.env.reset(seed=seed, options=options)
        self._goal = self._cell + uniform(0, 1, 2) + uniform(0, 0.5, 2)
        # For pictures; the maze's own goal plays no part here.
        self._maze.goal = self._start + self._goal
        self._maze.update_target_site_pos()
        return self._flat(observation), info

    @override
    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Returns what came of a step."""
        observation, _, _, truncated, info = self.env.step(action)
        flat = self._flat(observation)
        reached = bool(np.linalg.norm(flat[:2] - self._goal) <= _RADIUS)
        return flat, float(reached), reached, truncated, info | {"success": reached}

    def _flat(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate(
            [observation["achieved_goal"] - self._start, observation["observation"]]
        )
