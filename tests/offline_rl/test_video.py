"""Films: frames, pace, the episode that they show, and where nothing can be drawn."""

import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl import TrainedPolicy
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import evaluate
from scoreregs_offline_rl.evaluation.video import record_video
from scoreregs_offline_rl.stages.networks import DiracPolicy

imageio = pytest.importorskip("imageio", reason="needs the extra video")


class Drawn(gymnasium.Env):
    """Ten steps, drawn as a picture whose brightness is the step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, rate=20, draws: bool | None = True, render_mode=None):
        self.render_mode, self.draws = render_mode, draws
        self.metadata = self.metadata | {"render_fps": rate}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.done = 0
        return np.zeros(1), {}

    def step(self, action):
        self.done += 1
        return np.zeros(1), float(action[0]), False, False, {}

    def render(self):
        if self.draws is None:
            raise RuntimeError("no display")
        return np.full((16, 16, 3), 20 * self.done, np.uint8) if self.draws else None


gymnasium.register("ScoreregsDrawn-v0", lambda **o: Drawn(**o), max_episode_steps=10)
gymnasium.register("ScoreregsFast-v0", lambda **o: Drawn(100, **o), max_episode_steps=10)
gymnasium.register("ScoreregsBlind-v0", lambda **o: Drawn(20, None, **o), max_episode_steps=10)
gymnasium.register("ScoreregsEmpty-v0", lambda **o: Drawn(20, False, **o), max_episode_steps=10)
gymnasium.register(
    "ScoreregsPendulum-v0",
    "gymnasium.envs.classic_control.pendulum:PendulumEnv",
    max_episode_steps=8,
)


def half(observations):
    return np.full((len(observations), 1), 0.5)


@pytest.mark.parametrize(
    ("environment", "steps", "milliseconds"),
    [("ScoreregsDrawn-v0", range(11), 50), ("ScoreregsFast-v0", [0, 4, 8, 10], 40)],
)
def test_frames_and_pace(tmp_path, environment, steps, milliseconds):
    path = tmp_path / "films" / "episode.gif"
    result = record_video(half, environment, path)
    assert (result.mean, result.lengths) == (5.0, (10,))
    with imageio.get_reader(path) as film:
        brightness = [int(frame.mean()) for frame in film]
        assert film.get_meta_data()["duration"] == milliseconds
    np.testing.assert_allclose(brightness, [20 * step for step in steps], atol=1)
    assert [file.name for file in path.parent.iterdir()] == ["episode.gif"]


def test_it_is_the_episode_that_is_evaluated(tmp_path):
    pytest.importorskip("pygame", reason="draws the pendulum")

    def policy(observations):
        return np.clip(-5 * observations[:, 1:2], -2, 2)

    result = record_video(policy, "ScoreregsPendulum-v0", tmp_path / "swing.gif", seed=3)
    assert result == evaluate(policy, "ScoreregsPendulum-v0", episodes=1, seed=3)
    with imageio.get_reader(tmp_path / "swing.gif") as film:
        assert len(film) == 9
        assert film.get_data(0).shape == (500, 500, 3)
        assert film.get_data(0).min() < 50


def test_mp4(tmp_path):
    pytest.importorskip("imageio_ffmpeg", reason="needs the extra video")
    record_video(half, "ScoreregsDrawn-v0", tmp_path / "episode.mp4")
    with imageio.get_reader(tmp_path / "episode.mp4") as film:
        assert film.count_frames() == 11
        assert film.get_meta_data()["fps"] == 20


@pytest.mark.filterwarnings("ignore:.*should return a numpy array")
@pytest.mark.parametrize(
    ("environment", "name", "error", "words"),
    [
        ("ScoreregsDrawn-v0", "film.avi", ArgumentError, r"film\.avi.*\.gif or \.mp4"),
        ("ScoreregsBlind-v0", "film.gif", RunError, r"\(no display\).*MUJOCO_GL"),
        ("ScoreregsEmpty-v0", "film.gif", RunError, "NoneType.*rgb_array"),
    ],
)
def test_no_film(tmp_path, environment, name, error, words):
    with pytest.raises(error, match=words):
        record_video(half, environment, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("package", "name"),
    [("imageio", "film.gif"), ("imageio", "film.mp4"), ("imageio_ffmpeg", "film.mp4")],
)
def test_a_missing_package(tmp_path, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*scoreregs\[video\]"):
        record_video(half, "ScoreregsDrawn-v0", tmp_path / name)
    assert not list(tmp_path.iterdir())


class Shaped(Drawn):
    """Pictures of any shape, the last one repeated."""

    def __init__(self, *shapes, dtype=np.uint8, **options):
        super().__init__(**options)
        self.shapes, self.dtype, self.drawn = shapes, dtype, 0

    def render(self) -> Any:
        self.drawn += 1
        return np.zeros(self.shapes[min(self.drawn, len(self.shapes)) - 1], self.dtype)


def shaped(name, *shapes, dtype=np.uint8):
    gymnasium.register(name, lambda **o: Shaped(*shapes, dtype=dtype, **o), max_episode_steps=1)
    return name


@pytest.mark.parametrize("shape", [(17, 33, 3), (1, 1, 3), (16, 16, 4)])
@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_pictures_of_any_size_are_filmed(tmp_path, shape, suffix):
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    name = shaped(f"ScoreregsOf{'x'.join(map(str, shape))}{suffix[1:]}-v0", shape)
    assert record_video(half, name, tmp_path / f"film{suffix}").lengths == (1,)
    assert (tmp_path / f"film{suffix}").stat().st_size


@pytest.mark.parametrize(
    ("name", "shapes", "dtype", "message"),
    [
        ("None", [(0, 16, 3)], np.uint8, r"shape \(0, 16, 3\).*expected \(height"),
        ("Flat", [(16, 16)], np.uint8, r"shape \(16, 16\)"),
        ("Real", [(16, 16, 3)], np.float32, "type float32"),
        ("Grows", [(16, 16, 3), (16, 16, 3), (18, 16, 3)], np.uint8, "one size for the whole"),
    ],
)
def test_pictures_that_make_no_film(tmp_path, name, shapes, dtype, message):
    name = shaped(f"Scoreregs{name}-v0", *shapes, dtype=dtype)
    with pytest.raises(RunError, match=message):
        record_video(half, name, tmp_path / "film.gif")
    assert not list(tmp_path.iterdir())


def test_a_policy_of_other_sizes_is_refused_before_the_film(tmp_path, monkeypatch):
    monkeypatch.setattr(Drawn, "step", lambda *given: pytest.fail("a step"))
    bounds = ActionScaling(torch.tensor([-1.0]), torch.tensor([1.0]))
    policy = TrainedPolicy(DiracPolicy(3, 1), ObservationScaling.identity(3), bounds)
    with pytest.raises(ArgumentError, match=r"expected \(3,\) or \(batch, 3\)"):
        record_video(policy, "ScoreregsDrawn-v0", tmp_path / "film.gif")
    with pytest.raises(ArgumentError, match="shape"):
        record_video(lambda s: np.zeros((1, 2)), "ScoreregsDrawn-v0", tmp_path / "film.gif")
    assert not list(tmp_path.iterdir())
