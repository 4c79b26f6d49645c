"""Films: frames, pace, the episode that they show, and where nothing can be drawn."""

import sys

import gymnasium
import numpy as np
import pytest

from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import evaluate
from scoreregs_offline_rl.evaluation.video import record_video

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
