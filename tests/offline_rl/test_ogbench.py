"""OGBench's files against OGBench's own loader, on roll-outs in its environment."""

import json
import sys
from dataclasses import asdict
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.data.loading import DataKeys, LoadingConfig
from scoreregs_offline_rl.data.scaling import RewardScaling
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult, data_score, evaluate
from scoreregs_offline_rl.inspection.inspection import inspect_data
from scoreregs_offline_rl.tasks import environment_for, paper_settings, scored_by_success
from scoreregs_offline_rl.tasks.ogbench import OGBenchTask

NAME = "pointmaze-medium-navigate-singletask-task1-v0"


@pytest.mark.parametrize(
    ("name", "data_set", "environment"),
    [
        (NAME, "pointmaze-medium-navigate-v0", "pointmaze-medium-singletask-task1-v0"),
        ("antmaze-large-stitch-v0", "antmaze-large-stitch-v0", None),
        ("antmaze-large-navigate-v0-val", "antmaze-large-navigate-v0", None),
        ("scene-play-singletask-v0", "scene-play-v0", "scene-singletask-v0"),
        (
            "cube-double-noisy-singletask-task4-v0",
            "cube-double-noisy-v0",
            "cube-double-singletask-task4-v0",
        ),
        (
            "antsoccer-arena-navigate-singletask-v0",
            "antsoccer-arena-navigate-v0",
            "antsoccer-arena-singletask-v0",
        ),
    ],
)
def test_names(name, data_set, environment):
    task = OGBenchTask.find(name)
    assert task is not None
    assert (task.data_set, task.environment) == (data_set, environment)
    assert environment_for(name) == (environment or name)


@pytest.mark.parametrize(
    "name", ["antmaze-medium-play-v2", "antmaze-large-diverse-v0", "hopper-medium-v2", "scene-v0"]
)
def test_names_of_others(name):
    assert OGBenchTask.find(name) is None


def compact(**changes):
    """Two trajectories of three states; the last action of each is a filler."""
    return {
        "observations": np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]], np.float32),
        "actions": np.array([[0.1], [0.2], [9.0], [0.3], [0.4], [9.0]], np.float32),
        "rewards": np.array([-1, -1, 0, -1, -1, 0], np.float32),
        "terminals": np.array([0, 0, 1, 0, 0, 1], np.float32),
        "masks": np.ones(6, np.float32),
        **changes,
    }


PAIRS = [(0.0, 1.0), (1.0, 2.0), (10.0, 11.0), (11.0, 12.0)]


def pairs(data):
    return list(
        zip(
            data.observations.flatten().tolist(),
            data.next_observations.flatten().tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize(
    "config",
    [
        LoadingConfig(),
        LoadingConfig(layout="states"),
        LoadingConfig(keys=DataKeys(timeouts="terminals")),
    ],
)
@pytest.mark.parametrize("name", ["antmaze-own-navigate-v0.npz", "log.npz"])
def test_terminals_on_last_states_only_cut(tmp_path, name, config):
    np.savez(tmp_path / name, **compact())
    data = load_data(tmp_path / name, config)
    assert pairs(data) == PAIRS
    assert not data.terminals.any()
    assert data.ends.tolist() == [False, True, False, True]
    # The filler action of a last state is nowhere.
    torch.testing.assert_close(data.actions.flatten(), torch.tensor([0.1, 0.2, 0.3, 0.4]))


def test_without_masks_the_layout_is_said(tmp_path):
    given = compact()
    del given["masks"]
    np.savez(tmp_path / "log.npz", **given)
    data = load_data(tmp_path / "log.npz", LoadingConfig(layout="states"))
    assert pairs(data) == PAIRS
    assert not data.terminals.any()
    # By its name a file of OGBench needs neither.
    np.savez(tmp_path / "scene-play-v0.npz", **given)
    assert pairs(load_data(tmp_path / "scene-play-v0.npz")) == PAIRS


def test_masks_bootstrap_and_do_not_cut(tmp_path):
    np.savez(tmp_path / "log.npz", **compact(masks=np.array([1, 0, 1, 0, 0, 1.0])))
    data = load_data(tmp_path / "log.npz")
    assert pairs(data) == PAIRS
    assert data.terminals.tolist() == [False, True, True, True]
    assert data.ends.tolist() == [False, True, False, True]


def test_masks_beside_next_observations(tmp_path):
    """What OGBench's `load_dataset` gives: no filler rows, terminals on the last step."""
    states = np.array([[0.0], [1.0], [10.0], [11.0]], np.float32)
    np.savez(
        tmp_path / "log.npz",
        observations=states,
        next_observations=states + 1,
        actions=states,
        rewards=-np.ones(4, np.float32),
        terminals=np.array([0, 1, 0, 1.0]),
        masks=np.array([1, 1, 1, 0.0]),
    )
    data = load_data(tmp_path / "log.npz")
    assert pairs(data) == PAIRS
    assert data.terminals.tolist() == [False, False, False, True]
    assert data.ends.tolist() == [False, True, False, True]


def test_a_trajectory_that_the_file_cuts_has_no_return(tmp_path):
    np.savez(tmp_path / "log.npz", **compact(terminals=np.array([0, 0, 1, 0, 0, 0.0])))
    data = load_data(tmp_path / "log.npz")
    assert pairs(data) == PAIRS
    assert data.trajectory_complete.tolist() == [True, False]


def test_no_reward_is_shifted_twice(tmp_path):
    path = tmp_path / "antmaze-own-navigate-v0.npz"
    np.savez(path, **compact())
    data = load_data(path)
    assert paper_settings(str(path)).rewards == "none"
    assert paper_settings(NAME).rewards == "none"
    assert paper_settings("antmaze-large-play-v2").rewards == "antmaze"
    # Nor where the name does not tell.
    assert RewardScaling.fit("antmaze", data)(data.rewards).tolist() == [-1.0] * 4
    unshifted = load_data(_with(tmp_path, rewards=np.array([0, 1, 0, 0, 0, 0.0])))
    assert RewardScaling.fit("antmaze", unshifted)(unshifted.rewards).tolist() == [-1, 0, -1, -1]
    never = load_data(_with(tmp_path, rewards=np.zeros(6)))
    assert RewardScaling.fit("antmaze", never)(never.rewards).tolist() == [-1.0] * 4


def _with(folder, **changes):
    np.savez(folder / "log.npz", **compact(**changes))
    return folder / "log.npz"


@pytest.mark.parametrize("name", ["pointmaze-medium-navigate-v0", "cube-single-play-v0.npz"])
def test_rows_without_a_task_have_no_reward(tmp_path, name):
    given = compact()
    del given["rewards"], given["masks"]
    np.savez(tmp_path / "cube-single-play-v0.npz", **given)
    place = tmp_path / name if name.endswith(".npz") else name
    with pytest.raises(DataError, match=r"no reward.*-singletask-task1-v0"):
        load_data(place)


@pytest.fixture(scope="module")
def ogbench() -> Any:
    return pytest.importorskip("ogbench")


def roll_out(environment_id, trajectories=3, steps=40):
    """A file's arrays, as OGBench's own recording scripts write them."""
    environment = gymnasium.make(environment_id)
    environment.action_space.seed(0)
    rows: dict[str, list[Any]] = {key: [] for key in ("observations", "actions", "terminals")}
    rows |= {"qpos": [], "qvel": [], "button_states": []}
    for trajectory in range(trajectories):
        observation, _ = environment.reset(seed=trajectory)
        for step in range(steps + 1):
            action = environment.action_space.sample()
            following, _, _, _, info = environment.step(action)
            rows["observations"].append(observation)
            rows["actions"].append(action)
            rows["terminals"].append(step == steps)
            rows["qpos"].append(info["prev_qpos"])
            rows["qvel"].append(info["prev_qvel"])
            if "prev_button_states" in info:
                rows["button_states"].append(info["prev_button_states"])
            observation = following
    environment.close()
    return {key: np.array(values) for key, values in rows.items() if values}


TASKS = [
    ("pointmaze-medium-navigate-singletask-task1-v0", "pointmaze-medium-v0"),
    ("antmaze-medium-navigate-singletask-v0", "antmaze-medium-v0"),
    ("cube-single-play-singletask-task2-v0", "cube-single-v0"),
    ("puzzle-3x3-play-singletask-task1-v0", "puzzle-3x3-v0"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "recorded_in"), TASKS)
def test_rows_are_those_of_ogbenchs_loader(ogbench, tmp_path, monkeypatch, name, recorded_in):
    task = OGBenchTask.find(name)
    assert task is not None
    arrays: dict[str, Any] = roll_out(recorded_in)
    if "maze" in name:
        # A random walk never arrives: put the goal where it passes.
        goal = ogbench.make_env_and_datasets(name, env_only=True)
        goal.reset()
        shift = goal.unwrapped.cur_goal_xy - arrays["qpos"][20, :2]
        arrays["qpos"][:, :2] += shift
    for end in ("", "-val"):
        np.savez_compressed(tmp_path / f"{task.data_set}{end}.npz", **arrays)
    expected, _ = ogbench.make_env_and_datasets(name, dataset_dir=str(tmp_path))[1:]
    monkeypatch.setenv("OGBENCH_DATASET_DIR", str(tmp_path))
    data = load_data(name)
    for ours, theirs in (
        (data.observations, "observations"),
        (data.next_observations, "next_observations"),
        (data.actions, "actions"),
        (data.rewards, "rewards"),
        (~data.terminals, "masks"),
        (data.ends, "terminals"),
    ):
        np.testing.assert_array_equal(ours.numpy().astype(np.float32), expected[theirs])
    if "maze" in name:
        assert set(data.rewards.tolist()) == {-1.0, 0.0}
        assert data.terminals.any()
    assert data.environment == task.environment
    # A file is recognised by its name, too.
    (tmp_path / f"{task.data_set}.npz").rename(tmp_path / f"{name}.npz")
    assert torch.equal(load_data(tmp_path / f"{name}.npz").rewards, data.rewards)


class Goal(gymnasium.Env[Any, Any]):
    """Succeeds after three steps where the seed is even."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        self.taken, self.wins = 0, seed is not None and seed % 2 == 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.taken += 1
        won = self.wins and self.taken == 3
        return np.zeros(1, np.float32), float(won) - 1, won, False, {"success": float(won)}


def test_the_score_is_the_share_of_successes():
    name = "pointmaze-tiny-singletask-task1-v0"

    def make(**_: Any) -> Goal:
        return Goal()

    gymnasium.register(name, make, max_episode_steps=5)
    # One of the user's own of such a name is not OGBench's.
    assert not scored_by_success(name)
    assert evaluate(idle, name, episodes=4).normalized_score is None
    make.__module__ = "ogbench.tiny"
    assert scored_by_success(name)
    result = evaluate(idle, name, episodes=4)
    assert result.successes == (True, False, True, False)
    assert (result.normalized_score, result.lengths) == (50.0, (3, 5, 3, 5))
    assert result.normalized_interval == (0.0, 100.0)
    assert EvaluationResult.from_dict(json.loads(json.dumps(asdict(result)))) == result


def test_the_data_of_such_a_task_is_scored_alike(tmp_path):
    masks = np.array([1, 1, 1, 1, 0, 1.0])
    np.savez(tmp_path / f"{NAME}.npz", **compact(masks=masks))
    data = load_data(tmp_path / f"{NAME}.npz")
    assert data.environment == "pointmaze-medium-singletask-task1-v0"
    assert data_score(data) == 50.0
    assert inspect_data(data).scores == (50.0, 100.0)


def idle(observations):
    return np.zeros((len(observations), 1))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_environment_of_ogbench_is_scored_by_success(ogbench):
    environment = "pointmaze-medium-singletask-task1-v0"
    still = evaluate(lambda s: np.zeros((len(s), 2)), environment, episodes=2)
    assert (still.normalized_score, still.mean, still.lengths) == (0.0, -1000.0, (1000, 1000))


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ogbench", None)
    given = compact(qpos=np.zeros((6, 2)))
    del given["rewards"], given["masks"]
    np.savez(tmp_path / f"{NAME}.npz", **given)
    monkeypatch.delitem(gymnasium.registry, "pointmaze-medium-singletask-task1-v0", raising=False)
    with pytest.raises(MissingDependencyError, match=r"scoreregs\[ogbench\]"):
        load_data(tmp_path / f"{NAME}.npz")
