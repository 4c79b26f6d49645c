"""Evaluation against plain loops over single environments."""

import json
import sys
import warnings
from dataclasses import asdict

import gymnasium
import numpy as np
import pytest

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.hdf5 import load_hdf5
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.environments.making import action_bounds
from scoreregs_offline_rl.evaluation import learning_curve
from scoreregs_offline_rl.evaluation.rollouts import (
    EvaluationResult,
    data_score,
    evaluate,
)
from scoreregs_offline_rl.evaluation.settings import EvaluationConfig
from scoreregs_offline_rl.evaluation.statistics import bootstrap_interval, mean
from scoreregs_offline_rl.tasks import normalized_score
from tests.shared import shared_file


class Countdown(gymnasium.Env):
    """Rewards 1 per step for a number of steps that the seed decides, then ends for good.

    An action outside the box costs 100.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 30))
        return np.array([self.left], float), {}

    def step(self, action):
        self.left -= 1
        reward = 1.0 if self.action_space.contains(action) else -100.0
        return np.array([self.left], float), reward, self.left == 0, False, {}


class Wide(Countdown):
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)


gymnasium.register("ScoreregsCountdown-v0", lambda **_: Countdown(), max_episode_steps=20)
gymnasium.register("ScoreregsEndless-v0", lambda **_: Countdown())
gymnasium.register("ScoreregsWide-v0", lambda **_: Wide(), max_episode_steps=20)


def idle(observations):
    return np.zeros((len(observations), 2))


def lengths_by_seed(seeds):
    """What Countdown draws from each seed, cut at 20 steps."""
    drawn = [int(np.random.Generator(np.random.PCG64(s)).integers(1, 30)) for s in seeds]
    return tuple(min(length, 20) for length in drawn)


@pytest.mark.parametrize("parallel", [1, 7, 64])
def test_one_whole_episode_per_seed_whatever_runs_together(parallel):
    result = evaluate(idle, "ScoreregsCountdown-v0", episodes=25, seed=3, parallel=parallel)
    expected = lengths_by_seed(range(3, 28))
    assert len(set(expected)) > 5
    assert result.lengths == expected
    assert result.returns == tuple(map(float, expected))
    assert result.mean == pytest.approx(np.mean(expected))
    assert result.standard_error == pytest.approx(np.std(expected, ddof=1) / 5)
    found = bootstrap_interval([result.returns], mean)
    assert result.interval == (found.low, found.high)
    assert found.low < result.mean < found.high
    assert result.normalized_interval is None
    assert result.normalized_score is None


def test_one_call_of_the_policy_per_step():
    calls = []

    def policy(observations):
        calls.append(observations.shape)
        return idle(observations)

    evaluate(policy, "ScoreregsCountdown-v0", episodes=10, seed=3, parallel=5)
    first, second = lengths_by_seed(range(3, 8)), lengths_by_seed(range(8, 13))
    assert calls == [(5, 1)] * (max(first) + max(second))


@pytest.mark.parametrize("most", [1024, 4])
def test_several_policies_share_an_environment(monkeypatch, most):
    """Each is called on as many rows as by itself, and is told what it is told by itself."""
    monkeypatch.setattr(learning_curve, "TOGETHER", 2)
    monkeypatch.setattr(learning_curve, "MOST", most)
    rows, made = [], []

    def pushing(torque):
        def act(observations):
            rows.append(len(observations))
            return np.full((len(observations), 1), torque) * observations[:, 1:2]

        return act

    def counted(environments, **options):
        made.append(len(environments))
        return vector(environments, **options)

    vector = gymnasium.vector.SyncVectorEnv
    policies = [pushing(torque) for torque in (-1.0, 0.5, 2.0)]
    alone = [evaluate(policy, "Pendulum-v1", 3, 7, parallel=2) for policy in policies]
    by_itself, rows = rows, []
    monkeypatch.setattr(gymnasium.vector, "SyncVectorEnv", counted)
    config = EvaluationConfig("Pendulum-v1", episodes=3, seed=7)
    assert learning_curve.evaluate_agents(policies, config) == alone
    assert made == ([6, 3] if most > 4 else [4, 2, 2, 1])
    assert sorted(rows) == sorted(by_itself)
    assert learning_curve.evaluate_agents(policies, EvaluationConfig(episodes=0)) == []


def test_an_episode_that_has_ended_takes_no_more_steps(monkeypatch):
    steps, whole = [], Countdown.step

    def counted(self, action):
        steps.append(self)
        return whole(self, action)

    monkeypatch.setattr(Countdown, "step", counted)
    found = evaluate(idle, "ScoreregsCountdown-v0", episodes=6)
    assert len(set(found.lengths)) > 1
    assert len(steps) == sum(found.lengths)


def test_a_single_episode_has_neither_standard_error_nor_interval():
    result = evaluate(idle, "ScoreregsCountdown-v0", episodes=1)
    assert result.standard_error is None
    assert result.interval is None


def test_the_interval_is_normalised_as_the_mean_is():
    result = EvaluationResult.from_returns("Hopper-v4", [1000.0, 3000.0, 2000.0], [9, 9, 9])
    assert result.interval is not None
    expected = tuple(normalized_score(end, "hopper") for end in result.interval)
    assert result.normalized_interval == expected


def test_a_result_survives_json():
    result = EvaluationResult.from_returns("Hopper-v4", [1000.0, 3000.0, 2000.0], [9, 8, 7])
    assert EvaluationResult.from_dict(json.loads(json.dumps(asdict(result)))) == result


def test_rounding_beyond_the_bounds_is_clipped():
    result = evaluate(lambda s: idle(s) - 1.00001, "ScoreregsCountdown-v0", episodes=3)
    assert result.mean > 0


def test_actions_reach_the_environment():
    def policy(observations):
        return np.clip(-5 * observations[:, 1:2], -2, 2)

    single = gymnasium.make("Pendulum-v1")
    expected = []
    for seed in range(4):
        observation, _ = single.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            action = policy(observation[None])[0]
            observation, reward, terminated, truncated, _ = single.step(action)
            total, done = total + float(reward), terminated or truncated
        expected.append(total)
    result = evaluate(policy, "pendulum-swingup", episodes=4)
    assert result.environment == "Pendulum-v1"
    np.testing.assert_allclose(result.returns, expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*is out of date")
@pytest.mark.parametrize(
    ("task", "environment"),
    [
        ("hopper-medium-expert-v2", "Hopper-v4"),
        ("halfcheetah-medium-v2", "HalfCheetah-v4"),
        ("walker2d-medium-replay-v2", "Walker2d-v4"),
    ],
)
def test_d4rl_tasks_run_in_v4_without_a_warning(task, environment):
    low, _ = action_bounds(task)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evaluate(lambda s: np.zeros((len(s), len(low))), task, episodes=2, seed=1)
    assert result.environment == environment
    single = gymnasium.make(environment)
    single.reset(seed=1)
    total, done = 0.0, False
    while not done:
        _, reward, terminated, truncated, _ = single.step(np.zeros(len(low), np.float32))
        total, done = total + float(reward), terminated or truncated
    assert result.returns[0] == pytest.approx(total)


def test_walker_v4_is_not_v5():
    def policy(observations):
        return np.full((len(observations), 6), 0.4)

    scores = {v: evaluate(policy, f"Walker2d-{v}", episodes=2).mean for v in ("v4", "v5")}
    assert scores["v4"] != pytest.approx(scores["v5"], rel=1e-3)


@pytest.mark.parametrize("environment", ["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Ant-v5"])
def test_mujoco(environment):
    low, high = action_bounds(environment)
    generator = np.random.default_rng(0)

    def policy(observations):
        return generator.uniform(low, high, (len(observations), len(low)))

    result = evaluate(policy, environment, episodes=2)
    assert all(np.isfinite(result.returns))
    assert all(1 <= length <= 1000 for length in result.lengths)
    if environment == "Hopper-v5":
        assert result.normalized_score == pytest.approx(2, abs=4)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (lambda rows: np.zeros((rows, 1)), r"shape \(3, 1\).*expected \(3, 2\)"),
        (lambda rows: np.full((rows, 2), np.nan), "nan"),
        (lambda rows: np.full((rows, 2), 1.01), "environment's units"),
    ],
)
def test_bad_actions_are_refused(actions, words):
    with pytest.raises(ArgumentError, match=words):
        evaluate(lambda s: actions(len(s)), "ScoreregsCountdown-v0", episodes=3)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ("Hoper-v5", "'Hoper-v5'.*Gymnasium id"),
        ("CartPole-v1", "discrete actions.*not supported"),
        ("ScoreregsWide-v0", "bounded"),
        ("ScoreregsEndless-v0", "time limit"),
        ("Hopper-v2", "'Hopper-v2'.*can be made here"),
    ],
)
def test_unsuited_environments_are_refused(environment, words):
    with pytest.raises(ArgumentError, match=words):
        evaluate(idle, environment)


def test_a_missing_simulator(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    for module in [name for name in sys.modules if name.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(ArgumentError, match="MuJoCo is not installed, run"):
        evaluate(idle, "Hopper-v4")


@pytest.mark.parametrize("changes", [{"episodes": 0}, {"parallel": 0}, {"seed": -1}])
def test_counts_below_their_range_are_refused(changes):
    with pytest.raises(ArgumentError, match=f"got {next(iter(changes))}="):
        evaluate(idle, "ScoreregsCountdown-v0", **changes)


# The scores that the data's own description states.
@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("hopper-medium-expert", 62.8),
        ("hopper-mixed", 46.9),
        ("halfcheetah-medium", 46.4),
        ("halfcheetah-medium-expert", 70.4),
    ],
)
def test_data_score_of_real_files(name, score):
    data = load_hdf5(shared_file(f"data/{name}.hdf5"))
    assert data_score(data) == pytest.approx(score, abs=0.1)


def test_data_score_needs_a_task():
    rows = np.zeros((2, 1))
    data = Transitions.from_arrays(rows, rows, rows[:, 0], [0, 1], [0, 0])
    with pytest.raises(ArgumentError, match="names none"):
        data_score(data)
    assert data_score(data, "antmaze-umaze-v2") == 0.0
