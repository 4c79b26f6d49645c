"""The demo: its task, its data, and a shrunk run of it."""

import numpy as np
import pytest

from examples import demo
from examples.fork import ENVIRONMENT, GOAL, STEPS, move, record, starts
from scoreregs_offline_rl import evaluate
from scoreregs_offline_rl.files import load_json


def round_the_obstacle(side):
    """A policy that passes on one side."""

    def policy(observations):
        beside = np.array([0.0, 0.7 * side])
        target = np.where(observations[:, :1] < -0.1, beside, GOAL)
        way = target - observations
        return 0.9 * way / np.linalg.norm(way, axis=1, keepdims=True)

    return policy


@pytest.mark.parametrize("side", [-1, 1])
def test_both_ways_lead_to_the_goal_and_the_middle_into_the_obstacle(side):
    assert evaluate(round_the_obstacle(side), ENVIRONMENT, episodes=5).mean == 1.0
    assert evaluate(round_the_obstacle(0), ENVIRONMENT, episodes=5).mean == 0.0


def test_data_goes_both_ways_from_the_same_places_and_crashes_now_and_then():
    arrays = record(400, seed=0)
    near = np.abs(arrays["observations"] - [demo.PARTING, 0.0]).max(axis=1) < 0.1
    up = arrays["actions"][near, 1] > 0
    assert 0.4 < up.mean() < 0.6
    assert abs(arrays["actions"][near, 1].mean()) < 0.1
    assert np.abs(arrays["actions"][near, 1]).mean() > 0.3
    assert 0.7 < arrays["rewards"].sum() / 400 < 0.95


def test_a_recording_is_what_the_task_does_and_its_seed_s_alone():
    arrays, again = record(20, seed=3), record(20, seed=3)
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, again[key])
    moved, reached, crashed = move(arrays["observations"], arrays["actions"])
    np.testing.assert_array_equal(moved, arrays["next_observations"])
    np.testing.assert_array_equal(reached, arrays["rewards"])
    np.testing.assert_array_equal(reached | crashed, arrays["terminals"])


def test_paths_are_the_recorded_ones():
    arrays = record(4, seed=0)
    paths = demo.recorded_paths(arrays, episodes=4)
    assert paths.shape == (STEPS + 1, 4, 2)
    np.testing.assert_array_equal(paths[0], starts(4, np.random.default_rng(0)))
    rows = np.isfinite(paths[..., 0]).sum()
    assert rows == len(arrays["rewards"]) + 4


def test_it_trains_and_draws(tmp_path, monkeypatch):
    shrunk = [f"--{name}.steps=2" for name in demo.STAGES]
    monkeypatch.setattr(demo, "SETTINGS", [*demo.SETTINGS, *shrunk, "--evaluation.episodes=2"])
    monkeypatch.setattr(demo, "SEEDS", (0, 1))
    monkeypatch.setattr(demo, "EPISODES", 50)
    monkeypatch.setattr("sys.argv", ["demo.py", "--run-dir", str(tmp_path)])
    assert demo.main() == 0
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    reached = load_json(tmp_path / "demo.json")["reached"]
    assert {name: len(shares) for name, shares in reached.items()} == {
        "cloning": 2,
        "awr": 2,
        "policy": 2,
    }
