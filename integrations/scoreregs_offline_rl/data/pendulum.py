"""`pendulum-swingup`: a data set for Gymnasium's Pendulum-v1 that is recorded, not downloaded.

450 episodes of 200 steps. A third each are recorded by a good, a medium and a poor scripted
controller that pump energy and catch the pendulum at the top. Every episode has a side of its
own, clockwise or counter-clockwise, on which its controller starts and by which it wants to reach
the top; the medium and the poor one flail for a while first, push less and more noisily. So from
one state the data pushes both ways, and the mean of the two leads nowhere.

The recording is the same bit for bit on every machine: it uses the sums, products and
comparisons of IEEE arithmetic alone (NumPy's sin and cos differ between machines in the last bit,
which a pendulum at its top magnifies) and raw bits of PCG64, a stream that NumPy keeps as it is.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scoreregs_offline_rl.data.hdf5 import load_hdf5, save_hdf5
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError

__all__ = ["load_pendulum_swingup", "record_pendulum_swingup", "swing_up_policy"]

logger = logging.getLogger(__name__)

EPISODES, STEPS = 450, 200
ENVIRONMENT = "Pendulum-v1"
_FILE = "pendulum-swingup-v1.hdf5"
_MAX_TORQUE, _MAX_SPEED, _TIME_STEP = 2.0, 8.0, 0.05
# Energy here is speed^2 / 2 + 15 cos(angle), whose derivative is 3 torque speed; 15 at the top.
_TOP_ENERGY = 15.0
_FLAIL_STEPS, _KICK_STEPS = 10, 10

Array = NDArray[np.float64]


def load_pendulum_swingup(
    cache_dir: str | os.PathLike[str] | None = None, config: LoadingConfig | None = None
) -> Transitions:
    """Returns the embedded data set, recorded on first use (well under a second) and then cached.

    Args:
        cache_dir: where the file is kept. None: the environment variable SCOREREGS_CACHE, else
            `scoreregs` in the platform's cache directory of the user.
        config: how to read it.

    Raises:
        DataError: where the cache cannot be written, or its file was damaged since; delete it then.
        MissingDependencyError: unless h5py is installed.
    """
    path = Path(cache_dir if cache_dir is not None else _default_cache()).expanduser() / _FILE
    if not path.exists():
        logger.info("recording pendulum-swingup to %s", path)
        try:
            save_hdf5(path, record_pendulum_swingup(), ENVIRONMENT)
        except OSError as error:
            raise DataError(
                f"got a cache that cannot be written ({error}), expected a writable directory",
                source=str(path),
                remedy="set the environment variable SCOREREGS_CACHE",
            ) from error
    return load_hdf5(path, config)


def record_pendulum_swingup(episodes: int = EPISODES) -> dict[str, np.ndarray]:
    """Returns the arrays of the data set by D4RL's keys, one episode after the other, float32.

    Args:
        episodes: how many; an episode depends on its own index alone.
    """
    hidden_draws = 2 + STEPS // _FLAIL_STEPS
    draws = np.stack([_uniform(episode, 2 + hidden_draws + STEPS) for episode in range(episodes)])
    start, hidden, noise = np.split(draws, [2, 2 + hidden_draws], axis=1)
    angle, speed = math.pi * (2 * start[:, 0] - 1), 2 * start[:, 1] - 1
    controller = _Controllers.draw(np.arange(episodes) % 3, hidden)
    columns: dict[str, list[np.ndarray]] = {"observations": [], "actions": [], "rewards": []}
    columns["next_observations"] = []
    for step in range(STEPS):
        torque = controller.torque(angle, speed, step, noise[:, step])
        # The recorded float32 action is the one that acts.
        torque = torque.astype(np.float32).astype(np.float64)
        columns["observations"].append(_observe(angle, speed))
        columns["actions"].append(torque[:, None])
        angle, speed, reward = _step(angle, speed, torque)
        columns["rewards"].append(reward)
        columns["next_observations"].append(_observe(angle, speed))
    arrays = {
        key: np.stack(rows, axis=1).reshape(episodes * STEPS, *rows[0].shape[1:]).astype(np.float32)
        for key, rows in columns.items()
    }
    arrays["terminals"] = np.zeros(episodes * STEPS, dtype=bool)
    arrays["timeouts"] = np.arange(episodes * STEPS) % STEPS == STEPS - 1
    return arrays


def swing_up_policy(observations: np.ndarray) -> np.ndarray:
    """Returns the torques of the good controller, without noise or preferred side: score 100.

    Args:
        observations: cos(angle), sin(angle), speed; shape (n, 3).

    Returns:
        Shape (n, 1), in [-2, 2].

    Example:
        >>> swing_up_policy(np.array([[-1.0, 0.0, 0.5]]))
        array([[2.]])
    """
    cosine, sine, speed = np.asarray(observations, dtype=np.float64).T
    side = np.where(speed < 0, -1.0, 1.0)
    pump = _pump(_energy(cosine, speed), side, np.float64(_MAX_TORQUE))
    angle = np.arctan2(sine, cosine)
    torque = np.where(_in_reach(angle, speed), -(8 * angle + 2 * speed), pump)
    return np.clip(torque, -_MAX_TORQUE, _MAX_TORQUE)[:, None]


@dataclass(frozen=True)
class _Controllers:
    """One controller per episode; fields have shape (episodes,), `flail` one column per stretch."""

    side: Array
    limit: Array
    noise: Array
    flail_until: Array
    angle_gain: Array
    speed_gain: Array
    flail: Array

    @classmethod
    def draw(cls, grade: NDArray[np.int64], draws: Array) -> _Controllers:
        """Returns good (0), medium (1) and poor (2) ones.

        Args:
            grade: shape (episodes,).
            draws: uniform numbers, shape (episodes, 22).
        """

        def by_grade(*values: float) -> Array:
            return np.array(values)[grade]

        return cls(
            side=np.where(draws[:, 0] < 0.5, -1.0, 1.0),
            limit=by_grade(2.0, 1.6, 1.2),
            noise=by_grade(0.2, 0.5, 1.0),
            flail_until=draws[:, 1] * by_grade(0.0, 60.0, 120.0),
            angle_gain=by_grade(8.0, 8.0, 7.0),
            speed_gain=by_grade(2.0, 1.5, 1.2),
            flail=np.where(draws[:, 2:] < 0.5, -1.0, 1.0),
        )

    def torque(self, angle: Array, speed: Array, step: int, noise: Array) -> Array:
        """Returns the torques of one step, shape (episodes,).

        Args:
            angle: shape (episodes,).
            speed: shape (episodes,).
            step: its number.
            noise: uniform numbers in [0, 1), shape (episodes,).
        """
        energy = _energy(_cos(angle), speed)
        side = np.where(np.abs(speed) < 0.3, self.side, np.where(speed < 0, -1.0, 1.0))
        # High and on the way to the top by the other side: brake, and come back by one's own.
        refuse = (speed * self.side < 0) & (energy > 9)
        torque = np.where(refuse, -self.limit * side, _pump(energy, side, self.limit))
        since = step - self.flail_until
        kick = (since >= 0) & (since < _KICK_STEPS) & (energy < -7)
        torque = np.where(kick, self.limit * self.side, torque)
        torque = np.where(since < 0, self.limit * self.flail[:, step // _FLAIL_STEPS], torque)
        catch = (since >= 0) & _in_reach(angle, speed)
        torque = np.where(catch, -(self.angle_gain * angle + self.speed_gain * speed), torque)
        return np.clip(torque + self.noise * (2 * noise - 1), -_MAX_TORQUE, _MAX_TORQUE)


def _pump(energy: Array, side: Array, limit: Array | np.float64) -> Array:
    """Torque that brings the energy to that of the top, along the motion."""
    return np.clip(2 * (_TOP_ENERGY - energy), -limit, limit) * side


def _in_reach(angle: Array, speed: Array) -> NDArray[np.bool_]:
    """Whether a linear controller of bounded torque can still catch the pendulum at the top."""
    return (np.abs(angle) < 0.6) & (np.abs(8 * angle + 2 * speed) < 2.6)


def _energy(cosine: Array, speed: Array) -> Array:
    return 0.5 * speed * speed + _TOP_ENERGY * cosine


def _step(angle: Array, speed: Array, torque: Array) -> tuple[Array, Array, Array]:
    """Pendulum-v1's step: next angle in [-pi, pi), next speed, reward of the step."""
    reward = -(angle * angle + 0.1 * (speed * speed) + 0.001 * (torque * torque))
    speed = speed + (15 * _sin(angle) + 3 * torque) * _TIME_STEP
    speed = np.clip(speed, -_MAX_SPEED, _MAX_SPEED)
    angle = angle + speed * _TIME_STEP
    return angle - 2 * math.pi * np.floor((angle + math.pi) / (2 * math.pi)), speed, reward


def _observe(angle: Array, speed: Array) -> Array:
    return np.stack([_cos(angle), _sin(angle), speed], axis=1)


def _series(square: Array, powers: range) -> Array:
    """Sum over k of (-square)^k / powers[k]!, by Horner's rule."""
    total = 0.0 * square
    for power in reversed(powers):
        total = 1.0 / math.factorial(power) - square * total
    return total


def _sin(angle: Array) -> Array:
    """Taylor's series on [-pi, pi], within 1e-14."""
    return angle * _series(angle * angle, range(1, 28, 2))


def _cos(angle: Array) -> Array:
    """Taylor's series on [-pi, pi], within 1e-14."""
    return _series(angle * angle, range(0, 29, 2))


def _uniform(seed: int, count: int) -> Array:
    """Numbers in [0, 1) from PCG64's raw bits."""
    bits = np.random.PCG64(seed).random_raw(count) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def _default_cache() -> Path:
    if chosen := os.environ.get("SCOREREGS_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base) / "scoreregs"
