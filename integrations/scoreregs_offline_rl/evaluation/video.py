"""A film of an episode."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl.environments.making import make_environment
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import (
    EvaluationResult,
    Policy,
    checked_actions,
)
from scoreregs_offline_rl.files import replacing
from scoreregs_offline_rl.tasks import environment_for

__all__ = ["check_film", "record_video"]

_FORMATS = (".gif", ".mp4")
# Films of more frames a second are larger and look the same; GIF knows at most 50.
_MAXIMUM_RATE = 30


@named_calls
def record_video(
    policy: Policy, environment: str, path: Path, *, seed: int = 0
) -> EvaluationResult:
    """Returns the episode that was filmed, the one that `evaluate` counts first under the seed.

    Frames are left out, evenly, so that at most 30 a second remain; time runs as in the simulator.

    Args:
        policy: called on one observation (1, o) at a time.
        environment: a Gymnasium id, or a data set's name.
        path: the film, `.gif` or `.mp4`, written beside its place and renamed.
        seed: of the episode.

    Raises:
        ArgumentError: where the path has another suffix, and as for `evaluate`.
        MissingDependencyError: where ImageIO, or for `.mp4` its FFmpeg, is not installed.
        RunError: where the environment cannot draw itself here, or draws no pictures of one size.
    """
    check_film(path)
    environment = environment_for(environment)
    made = make_environment(environment, render_mode="rgb_array")
    try:
        rate = float(made.metadata.get("render_fps", _MAXIMUM_RATE))
        every = math.ceil(rate / _MAXIMUM_RATE)
        # A policy of other sizes, or no picture, is refused before there is a film.
        start, _ = made.reset(seed=seed)
        _action(policy, start, made.action_space)
        size = _frame(made, environment).shape
        with replacing(path) as partial, _open(partial, rate / every) as film:

            def draw() -> None:
                frame = _frame(made, environment, size)
                film.append_data(_even(frame) if path.suffix == ".mp4" else frame)

            return _film_episode(policy, made, environment, draw, every, seed)
    finally:
        made.close()


def check_film(path: Path) -> None:
    """Raises unless a film can be written under a name.

    Args:
        path: of the film.

    Raises:
        ArgumentError: where it has another suffix, or is a folder.
        MissingDependencyError: where ImageIO, or for `.mp4` its FFmpeg, is not installed.
    """
    if path.suffix not in _FORMATS or path.is_dir():
        raise ArgumentError(f"got {path}, expected a file that ends in {' or '.join(_FORMATS)}")
    for package in ("imageio", "imageio_ffmpeg") if path.suffix == ".mp4" else ("imageio",):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingDependencyError(package, "video") from error


def _film_episode(
    policy: Policy, made: Any, environment: str, draw: Callable[[], None], every: int, seed: int
) -> EvaluationResult:
    observation, _ = made.reset(seed=seed)
    total, steps, done = 0.0, 0, False
    while not done:
        if steps % every == 0:
            draw()
        action = _action(policy, observation, made.action_space)
        observation, reward, terminated, truncated, _ = made.step(action)
        total, steps, done = total + float(reward), steps + 1, terminated or truncated
    draw()
    return EvaluationResult.from_returns(environment, [total], [steps])


def _action(policy: Policy, observation: np.ndarray, space: Any) -> np.ndarray:
    return checked_actions(policy(observation[None]), space.low, space.high, 1)[0]


def _frame(made: Any, environment: str, size: tuple[int, ...] | None = None) -> np.ndarray:
    try:
        frame = made.render()
    except _drawing_errors() as error:
        raise RunError(
            f"got no picture from {environment} ({error}), expected frames: install the package "
            "that draws it; MuJoCo without a display needs MUJOCO_GL=egl or MUJOCO_GL=osmesa"
        ) from error
    if not isinstance(frame, np.ndarray):
        raise RunError(
            f"got {type(frame).__name__} as a picture of {environment}, expected an array of "
            "pixels: the environment does not support render_mode='rgb_array'"
        )
    colours = frame.ndim == 3 and frame.shape[2] in (3, 4)
    if frame.dtype != np.uint8 or not frame.size or not colours:
        raise RunError(
            f"got a picture of {environment} of shape {frame.shape} and type {frame.dtype}, "
            "expected (height, width, 3) of uint8: mend its render()"
        )
    if size is not None and frame.shape != size:
        raise RunError(
            f"got a picture of {environment} of shape {frame.shape} after one of {size}, expected "
            "one size for the whole episode: mend its render()"
        )
    return frame


def _even(frame: np.ndarray) -> np.ndarray:
    """Returns a picture whose sides are even, as H.264 has to have them; its edge is repeated."""
    sides = [(0, side % 2) for side in frame.shape[:2]]
    return np.pad(frame, [*sides, (0, 0)], mode="edge")


def _drawing_errors() -> tuple[type[Exception], ...]:
    """What Gymnasium, OpenGL and MuJoCo raise where they cannot draw."""
    import gymnasium

    errors = gymnasium.error.Error, ImportError, AttributeError, RuntimeError, OSError
    mujoco = sys.modules.get("mujoco")
    return errors if mujoco is None else (*errors, mujoco.FatalError)


def _open(path: Path, rate: float) -> Any:
    """A writer of frames, `rate` a second."""
    import imageio

    if path.suffix == ".gif":
        return imageio.get_writer(path, format="GIF", mode="I", duration=1000 / rate, loop=0)
    return imageio.get_writer(path, format="FFMPEG", mode="I", fps=rate, macro_block_size=1)
