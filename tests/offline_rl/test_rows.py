"""The rows of D4RL's `qlearning_dataset`, against a count row by row and against the function."""

import sys
import types

import numpy as np
import pytest
import torch

from scoreregs_offline_rl.data.transitions import Transitions


def recording(seed, rows, timeouts, terminal_rate=0.05):
    """Random rows, with flags in random places, also both at one row."""
    generator = np.random.default_rng(seed)
    arrays = {
        "observations": generator.normal(size=(rows, 2)).astype(np.float32),
        "actions": generator.normal(size=(rows, 1)).astype(np.float32),
        "rewards": generator.normal(size=rows).astype(np.float32),
        "terminals": generator.random(rows) < terminal_rate,
    }
    if timeouts:
        arrays["timeouts"] = generator.random(rows) < 0.1
    return arrays


def count_by_hand(arrays, limit):
    """Indices of the kept rows, one row after the other."""
    kept, steps = [], 0
    for row in range(len(arrays["rewards"]) - 1):
        cut = arrays["timeouts"][row] if "timeouts" in arrays else steps == limit - 1
        if cut:
            steps = 0
        else:
            kept.append(row)
            # The step after a terminal row is counted as the second of its episode.
            steps = 1 if arrays["terminals"][row] else steps + 1
    return kept


CASES = [
    (seed, rows, timeouts, limit)
    for seed in range(4)
    for rows, limit in ((2, 3), (40, 2), (60, 7), (300, 10))
    for timeouts in (False, True)
]


@pytest.mark.parametrize(("seed", "rows", "timeouts", "limit"), CASES)
def test_rows_are_those_counted_by_hand(seed, rows, timeouts, limit):
    arrays = recording(seed, rows, timeouts)
    kept = np.array(count_by_hand(arrays, limit))
    following = np.full_like(arrays["observations"], 9.0)
    data = Transitions.from_arrays(
        **arrays, next_observations=following, rows="qlearning", max_episode_steps=limit
    )
    assert torch.equal(data.observations, torch.from_numpy(arrays["observations"][kept]))
    assert torch.equal(data.next_observations, torch.from_numpy(arrays["observations"][kept + 1]))
    assert torch.equal(data.actions, torch.from_numpy(arrays["actions"][kept]))
    assert torch.equal(data.rewards, torch.from_numpy(arrays["rewards"][kept]))
    assert torch.equal(data.terminals, torch.from_numpy(arrays["terminals"][kept]))


@pytest.mark.parametrize(("seed", "rows", "timeouts", "limit"), CASES)
def test_rows_are_those_of_d4rl(seed, rows, timeouts, limit, monkeypatch):
    # Without MuJoCo 2.1 the import of mujoco_py raises what d4rl does not catch; this it does.
    monkeypatch.setitem(sys.modules, "mujoco_py", None)
    d4rl = pytest.importorskip("d4rl", reason="needs the d4rl package")
    arrays = recording(seed, rows, timeouts)
    expected = d4rl.qlearning_dataset(types.SimpleNamespace(_max_episode_steps=limit), arrays)
    data = Transitions.from_arrays(**arrays, rows="qlearning", max_episode_steps=limit)
    for key, array in expected.items():
        np.testing.assert_array_equal(getattr(data, key).numpy(), array)


def test_returns_stay_those_of_true_trajectories():
    arrays = recording(1, 300, True)
    whole = Transitions.from_arrays(**arrays)
    data = Transitions.from_arrays(**arrays, rows="qlearning")
    assert len(data) != len(whole)
    assert torch.equal(data.trajectory_returns, whole.trajectory_returns)
    assert torch.equal(data.trajectory_lengths, whole.trajectory_lengths)
