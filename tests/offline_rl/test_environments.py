"""Environments that a data set describes, and names that only look like a task's."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import PendulumEnv

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.environments.making import make_environment
from scoreregs_offline_rl.evaluation.rollouts import evaluate
from scoreregs_offline_rl.tasks import (
    environment_for,
    find_task,
    reference_returns,
    step_limit,
    task_of_file,
)
from scoreregs_offline_rl.tasks.recorded import RecordedEnvironment


def heavy(**kwargs: Any) -> PendulumEnv:
    unknown = set(kwargs) - {"g", "render_mode"}
    if unknown:
        raise TypeError(f"unexpected {unknown}")
    return PendulumEnv(kwargs.get("render_mode"), kwargs.get("g", 5.0))


OWN = (
    "hopper-heavy-v0",
    "Pendulum-light-v0",
    "walker2d-expert-v2",
    "antmaze-mine-v0",
    "Ant-own-v3",
)


@pytest.fixture(autouse=True)
def own_environments():
    for name in OWN:
        gymnasium.register(name, heavy, max_episode_steps=30)
    yield
    for name in OWN:
        del gymnasium.registry[name]


@pytest.mark.parametrize("name", OWN)
def test_a_registered_id_is_made_as_it_is_and_has_no_other_tasks_score(name):
    assert environment_for(name) == name
    assert reference_returns(name) is None
    result = evaluate(lambda s: np.zeros((len(s), 1)), name, episodes=1)
    assert (result.environment, result.lengths, result.normalized_score) == (name, (30,), None)


@pytest.mark.parametrize(
    "name",
    [
        "hopper-heavy-v1",
        "Hopper-v5-mine",
        "pendulum-heavy",
        "halfcheetah-run-v0",
        "hopperx",
        "my-hopper",
        "AntMaze_UMazeDense-v5",
        "antmaze-umaze-hard-v2",
        "Pendulum-v2",
    ],
)
def test_names_that_begin_as_a_tasks_do_have_no_score(name):
    assert reference_returns(name) is None
    assert environment_for(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "hopper-medium-v2",
        "hopper_medium-v2",
        "Hopper-v2",
        "Hopper-v5",
        "hopper",
        "hopper-full-replay-v2",
    ],
)
def test_names_of_a_task_have_its_score(name):
    found = reference_returns(name)
    assert found is not None
    assert (found.random, found.expert) == (-20.272305, 3234.3)


def test_an_id_of_gymnasium_that_the_user_has_replaced():
    kept = gymnasium.registry["Hopper-v5"]
    try:
        del gymnasium.registry["Hopper-v5"]
        gymnasium.register("Hopper-v5", heavy, max_episode_steps=30)
        assert reference_returns("Hopper-v5") is None
    finally:
        gymnasium.registry["Hopper-v5"] = kept
    assert reference_returns("Hopper-v5") is not None


def test_other_keyword_arguments_are_another_task():
    assert reference_returns('Pendulum-v1 {"kwargs": {"g": 0.5}}') is None
    assert reference_returns('Pendulum-v1 {"max_episode_steps": 50}') is None
    found = reference_returns('Pendulum-v1 {"references": [-400, -20]}')
    assert found is not None
    assert (found.random, found.expert) == (-400.0, -20.0)
    assert step_limit('Pendulum-v1 {"max_episode_steps": 50}') == 50
    assert step_limit('Pendulum-v1 {"kwargs": {"g": 0.5}}') == 200


def test_keyword_arguments_reach_the_environment():
    environment = 'hopper-heavy-v0 {"kwargs": {"g": 7.0}, "max_episode_steps": 4}'
    made = make_environment(environment)
    assert getattr(made.unwrapped, "g", None) == 7.0
    assert evaluate(lambda s: np.zeros((len(s), 1)), environment, episodes=1).lengths == (4,)


@pytest.mark.parametrize(
    "text",
    [
        "Pendulum-v1 {",
        "Pendulum-v1 {]}",
        'Pendulum-v1 {"g": 5}',
        'Pendulum-v1 {"kwargs": 3}',
        'Pendulum-v1 {"max_episode_steps": 0}',
        'Pendulum-v1 {"max_episode_steps": 2.5}',
        'Pendulum-v1 {"wrappers": [{"kwargs": {}}]}',
        'Pendulum-v1 {"references": [1, 1]}',
        'Pendulum-v1 {"references": [1]}',
        'Pendulum-v1 {"references": [1' + 400 * "0" + ", 2]}",
        'Pendulum-v1 {"kwargs": [["g", 5]]}',
        'Pendulum-v1 {"max_episode_steps": true}',
        'Pendulum-v1 {"max_episode_steps": 1' + 40 * "0" + "}",
        'Pendulum-v1 {"wrappers": "ab"}',
        'Pendulum-v1 {"wrappers": [[["entry_point", "a:b"]]]}',
        'Pendulum-v1 {"wrappers": null}',
        ' {"kwargs": {"g": 5.0}}',
        "Pendulum-v1 " + '{"kwargs":' * 100_000,
    ],
)
def test_a_description_that_cannot_be_read(text):
    with pytest.raises(ArgumentError, match="JSON object of kwargs"):
        RecordedEnvironment.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        'Pendulum-v1 {"kwargs": {"h": 5}}',
        'Pendulum-v1 {"wrappers": [{"entry_point": "gymnasium.wrappers:Absent"}]}',
        'Pendulum-v1 {"wrappers": [{"entry_point": "gymnasium.wrappers"}]}',
        'Pendulum-v1 {"wrappers": [{"entry_point": "os:system"}]}',
    ],
)
def test_an_environment_that_cannot_be_made(text):
    with pytest.raises(ArgumentError, match="expected"):
        make_environment(text)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0.0, 0.0, np.float32), (1.0, 1.0 + 1e-12, np.float64), (-1e300, 1e300, np.float64)],
)
def test_bounds_that_leave_no_interval(low, high, dtype):
    class Fixed(PendulumEnv):
        def __init__(self):
            super().__init__()
            ends = np.array([-1.0, low], dtype), np.array([1.0, high], dtype)
            self.action_space = gymnasium.spaces.Box(*ends, dtype=dtype)

    gymnasium.register("ScoreregsFixed-v0", lambda **_: Fixed(), max_episode_steps=5)
    try:
        with pytest.raises(ArgumentError, match=r"ScoreregsFixed-v0 .* each low below its high"):
            make_environment("ScoreregsFixed-v0")
    finally:
        del gymnasium.registry["ScoreregsFixed-v0"]


def test_what_is_observed_in_parts_is_flattened():
    class Parts(gymnasium.Env[Any, Any]):
        observation_space = gymnasium.spaces.Dict(
            {"state": gymnasium.spaces.Box(-1, 1, (3,)), "mode": gymnasium.spaces.Discrete(2)}
        )
        action_space = gymnasium.spaces.Box(-1, 1, (1,))

        def reset(self, *, seed=None, options=None):
            return {"state": np.zeros(3, np.float32), "mode": 1}, {}

        def step(self, action):
            return {"state": np.ones(3, np.float32), "mode": 0}, 0.0, False, False, {}

    gymnasium.register("ScoreregsParts-v0", lambda **_: Parts(), max_episode_steps=5)
    seen = []

    def policy(observations):
        seen.append(observations)
        return np.zeros((len(observations), 1))

    evaluate(policy, "ScoreregsParts-v0", episodes=2)
    # A Dict's parts follow their names.
    assert seen[0].tolist() == [[0.0, 1.0, 0.0, 0.0, 0.0]] * 2
    assert seen[1].tolist() == [[1.0, 0.0, 1.0, 1.0, 1.0]] * 2


def test_d4rls_further_locomotion_is_known():
    task = find_task("ant-full-replay-v2")
    assert task is not None
    assert task.file == "ant_full_replay-v2.hdf5"
    assert task_of_file("hopper_random-v2.hdf5") == find_task("hopper-random-v2")
    assert environment_for("hopper-expert-v2") == "Hopper-v4"
    assert step_limit("walker2d-random-v2") == 1000
    found = reference_returns("ant-medium-v2")
    assert found is not None
    assert (found.random, found.expert) == (-325.6, 3879.7)
