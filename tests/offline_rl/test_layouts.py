"""Logs of vector environments that reset by themselves, against episodes run one by one."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.npz import load_npz
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.inspection.inspection import inspect_data

STEPS, ENVIRONMENTS = 40, 3


class Walk(gymnasium.Env):
    """Sums its actions from a start drawn afresh; ends for good beyond 1.5, is cut at 6 steps."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.taken = self.np_random.uniform(-1, 1), 0
        self.origin = self.np_random.uniform(10, 20)
        return self.observe(), {}

    def observe(self):
        return np.array([self.place, self.origin])

    def step(self, action):
        self.place, self.taken = self.place + 0.6 * float(action[0]), self.taken + 1
        terminal = abs(self.place) > 1.5
        reward = 1.0 + self.place
        return self.observe(), reward, terminal, self.taken == 6 and not terminal, {}


def log(mode):
    """Arrays (steps, environments, ...) and, for each environment, its true transitions."""
    vector: Any = SyncVectorEnv([Walk] * ENVIRONMENTS, autoreset_mode=mode)
    rng = np.random.default_rng(0)
    observations, _ = vector.reset(seed=5)
    rows: dict[str, list[Any]] = {key: [] for key in KEYS}
    true = [[] for _ in range(ENVIRONMENTS)]
    idle = np.zeros(ENVIRONMENTS, bool)
    for _ in range(STEPS):
        actions = rng.uniform(-1, 1, (ENVIRONMENTS, 1)).astype(np.float32)
        following, rewards, terminated, truncated, info = vector.step(actions)
        values = observations, actions, rewards, terminated, truncated, following
        for key, value in zip(KEYS, values, strict=True):
            rows[key].append(value.copy())
        done = terminated | truncated
        for e in range(ENVIRONMENTS):
            last = following[e]
            if mode == AutoresetMode.SAME_STEP and done[e]:
                last = info["final_obs"][e]
            if not idle[e]:
                true[e].append(
                    (observations[e], actions[e], rewards[e], last, terminated[e], done[e])
                )
        idle = done if mode == AutoresetMode.NEXT_STEP else np.zeros_like(done)
        observations = following.copy()
    vector.close()
    return {key: np.array(value) for key, value in rows.items()}, true


def episodes_of(rows):
    """The rows of one environment by episode; the last may be unfinished."""
    episodes: list[list[Any]] = [[]]
    for row in rows:
        episodes[-1].append(row)
        if row[5]:
            episodes.append([])
    return [episode for episode in episodes if episode]


def rows_of(data):
    columns = data.observations, data.actions, data.rewards, data.next_observations, data.terminals
    return zip(*(column.numpy() for column in columns), strict=True)


KEYS = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")
MODES = {"next_step": AutoresetMode.NEXT_STEP, "same_step": AutoresetMode.SAME_STEP}


@pytest.fixture
def read(tmp_path):
    def reading(arrays, **options):
        np.savez(tmp_path / "log.npz", **arrays)
        return load_npz(tmp_path / "log.npz", LoadingConfig(**options))

    return reading


@pytest.mark.parametrize("with_next", [True, False])
@pytest.mark.parametrize("layout", MODES)
def test_every_step_that_was_taken_and_no_other(read, layout, with_next):
    arrays, true = log(MODES[layout])
    if not with_next:
        del arrays["next_observations"]
    data = read(arrays, layout=layout)
    expected, ends = [], []
    for rows in true:
        for episode in episodes_of(rows):
            kept = []
            for number, (s, a, r, following, terminal, done) in enumerate(episode):
                cut = layout == "same_step" and done
                # The last call of a log has no next row to look at.
                unseen = not with_next and episode[number] is rows[-1]
                known = not cut and not unseen
                if known or terminal:
                    # What follows a terminal row is never read.
                    kept.append((s, a, r, None if terminal else following, terminal))
            expected += kept
            ends += [False] * (len(kept) - 1) + [True] * bool(kept)
    assert len(data) == len(expected)
    for ours, (s, a, r, following, terminal) in zip(rows_of(data), expected, strict=True):
        np.testing.assert_array_equal(ours[0], s.astype(np.float32))
        np.testing.assert_array_equal(ours[1], a)
        assert ours[2] == np.float32(r)
        if following is not None:
            np.testing.assert_array_equal(ours[3], following.astype(np.float32))
        assert ours[4] == terminal
    assert data.ends.tolist() == ends
    assert data.terminals.any()
    # Returns are those of whole episodes, also of rows that were left out.
    whole = [
        sum(row[2] for row in episode)
        for rows in true
        for episode in episodes_of(rows)
        if episode[-1][5]
    ]
    np.testing.assert_allclose(np.sort(data.returns().numpy()), np.sort(whole), rtol=1e-5)


@pytest.mark.parametrize("layout", MODES)
def test_one_environments_log_needs_no_second_axis(read, layout):
    arrays, _ = log(MODES[layout])
    whole = read(arrays, layout=layout)
    alone = read({key: array[:, 0] for key, array in arrays.items()}, layout=layout)
    assert torch.equal(alone.observations, whole.observations[: len(alone)])
    assert torch.equal(alone.next_observations, whole.next_observations[: len(alone)])


def as_steps(layout, with_next=True):
    arrays, _ = log(MODES[layout])
    flat = {key: array[:, 0] for key, array in arrays.items()}
    if not with_next:
        del flat["next_observations"]
    return flat


@pytest.mark.parametrize(
    ("layout", "with_next"), [("next_step", True), ("next_step", False), ("same_step", True)]
)
def test_the_layout_is_found_and_the_reading_has_no_finding(read, layout, with_next):
    flat = as_steps(layout, with_next)
    found = [f for f in inspect_data(read(flat)).findings if "--loading.layout" in f]
    assert len(found) == 1
    assert f"--loading.layout {layout}" in found[0]
    well = inspect_data(read(flat, layout=layout)).findings
    assert not [f for f in well if "--loading.layout" in f or "without a flag" in f]


@pytest.mark.parametrize("with_next", [True, False])
def test_steps_are_not_taken_for_rows_that_only_reset(read, with_next):
    arrays, _ = log(AutoresetMode.SAME_STEP)
    if not with_next:
        del arrays["next_observations"]
    with pytest.raises(DataError, match="layout same_step") as caught:
        read(arrays, layout="next_step")
    assert caught.value.key == "rewards"
    arrays, _ = log(AutoresetMode.NEXT_STEP)
    shifted = read(arrays | {"rewards": arrays["rewards"] - 1.0}, layout="next_step")
    assert len(shifted) == len(read(arrays, layout="next_step"))


def test_episodes_that_were_reset_by_hand_have_no_such_finding():
    environment, rng = Walk(), np.random.default_rng(1)
    rows: list[list[Any]] = []
    for episode in range(20):
        observation, _ = environment.reset(seed=episode)
        done = False
        while not done:
            action = rng.uniform(-1, 1, 1)
            following, reward, terminal, cut, _ = environment.step(action)
            rows.append([observation, action, 0 * reward, terminal, cut, following])
            observation, done = following, terminal or cut
    data = Transitions.from_arrays(*(np.array(part) for part in zip(*rows, strict=True)))
    assert not [f for f in inspect_data(data).findings if "layout" in f]


@pytest.mark.parametrize(
    ("changes", "layout", "words"),
    [
        ({"rewards": np.zeros((STEPS, 2))}, "next_step", r"expected \(40, 3\) first"),
        ({"actions": np.zeros(STEPS)}, "same_step", r"expected \(40, 3\) first"),
        ({"terminals": np.ones((STEPS, 3), bool)}, "next_step", "row after an end"),
        ({}, "states", r"expected \(rows, features\)"),
        ({}, None, "loading.layout next_step or same_step"),
    ],
)
def test_arrays_of_another_layout_are_refused(read, changes, layout, words):
    arrays, _ = log(AutoresetMode.NEXT_STEP)
    with pytest.raises(DataError, match=words):
        read(arrays | changes, layout=layout)


@pytest.mark.parametrize("layout", ["steps", "states", "next_step", "same_step"])
@pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminals", "timeouts"])
@pytest.mark.parametrize("value", [np.array(0.0), np.zeros(0), np.array(["a"] * 10)])
def test_what_is_no_column_is_refused(read, layout, key, value):
    given = {"observations": np.zeros((10, 2)), "actions": np.zeros((10, 1))}
    given |= {"rewards": np.zeros(10), "terminals": np.zeros(10), "timeouts": np.arange(10) == 9}
    with pytest.raises(DataError, match="expected"):
        read({**given, key: value}, layout=layout)


def test_states_with_what_followed_are_refused(read):
    with pytest.raises(DataError, match="layout steps"):
        read(as_steps("next_step"), layout="states")


def test_qlearnings_rows_are_those_of_steps(read):
    with pytest.raises(ArgumentError, match="layout 'steps'"):
        read(as_steps("next_step"), layout="next_step", rows="qlearning")


def test_success_in_a_log_without_rewards(read):
    arrays, _ = log(AutoresetMode.NEXT_STEP)
    del arrays["rewards"]
    with pytest.raises(DataError, match=r"--loading\.rewards success"):
        read(arrays, layout="next_step")
    arrays["success"] = arrays["terminals"] & (arrays["observations"][..., 0] > 0)
    assert arrays["success"].any()
    data = read(arrays, layout="next_step", rewards="success")
    won = int(arrays["success"].sum())
    assert data.rewards.sum().item() == data.returns().sum().item() == won
    assert torch.equal(data.rewards > 0, data.terminals & (data.observations[:, 0] > 0))
