"""Row semantics and refusals of Transitions, on arrays made by hand."""

import numpy as np
import pytest
import torch

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError

# Row:        0  1  2     | 3  4        | 5         | 6  7
# Trajectory: terminal    | timeout     | both      | cut by the end of the data
TERMINALS = [0, 0, 1, 0, 0, 1, 0, 0]
TIMEOUTS = [0, 0, 0, 0, 1, 1, 0, 0]
REWARDS = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]


def arrays(**changes):
    rows = len(REWARDS)
    given = {
        "observations": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2),
        "actions": np.arange(rows, dtype=np.float32)[:, None] / 10,
        "rewards": np.array(REWARDS, dtype=np.float32),
        "terminals": np.array(TERMINALS, dtype=bool),
        "timeouts": np.array(TIMEOUTS, dtype=bool),
    }
    return {**given, **changes}


def test_no_row_is_lost_with_next_observations():
    following = np.arange(100, 116, dtype=np.float32).reshape(8, 2)
    data = Transitions.from_arrays(**arrays(next_observations=following))
    assert len(data) == 8
    assert torch.equal(data.next_observations, torch.from_numpy(following))
    assert data.rewards.tolist() == REWARDS
    assert data.terminals.tolist() == [bool(flag) for flag in TERMINALS]
    assert data.ends.tolist() == [False, False, True, False, True, True, False, True]


def test_cut_rows_are_dropped_without_next_observations():
    given = arrays()
    data = Transitions.from_arrays(**given)
    kept = [0, 1, 2, 3, 5, 6]
    following = [1, 2, 2, 4, 5, 7]
    observations = torch.from_numpy(given["observations"])
    assert torch.equal(data.observations, observations[kept])
    assert torch.equal(data.next_observations, observations[following])
    assert torch.equal(data.actions, torch.from_numpy(given["actions"])[kept])
    assert data.rewards.tolist() == [REWARDS[row] for row in kept]
    assert data.terminals.tolist() == [False, False, True, False, True, False]
    assert data.ends.tolist() == [False, False, True, True, True, True]


@pytest.mark.parametrize("next_observations", [None, np.zeros((8, 2), np.float32)])
def test_returns_are_those_of_true_trajectories(next_observations):
    data = Transitions.from_arrays(**arrays(next_observations=next_observations))
    assert data.trajectory_returns.tolist() == [7.0, 24.0, 32.0, 192.0]
    assert data.trajectory_complete.tolist() == [True, True, True, False]
    assert data.returns().tolist() == [7.0, 24.0, 32.0]


def test_an_incomplete_trajectory_counts_where_there_is_no_other():
    data = Transitions.from_arrays(**arrays(terminals=np.zeros(8), timeouts=np.zeros(8)))
    assert data.returns().tolist() == [255.0]
    assert len(data) == 7


def test_a_cut_trajectory_of_one_row_leaves_its_return():
    data = Transitions.from_arrays(**arrays(timeouts=np.array([0, 0, 0, 1, 1, 1, 0, 0])))
    assert data.rewards.tolist() == [1.0, 2.0, 4.0, 32.0, 64.0]
    assert data.ends.tolist() == [False, False, True, True, True]
    assert data.returns().tolist() == [7.0, 8.0, 16.0, 32.0]


def test_selected_rows_are_the_rows():
    data = Transitions.from_arrays(**arrays())
    batch = data.select(torch.tensor([4, 0]))
    assert batch.rewards.tolist() == [32.0, 1.0]
    assert batch.terminals.tolist() == [True, False]
    assert torch.equal(batch.observations, data.observations[[4, 0]])
    assert torch.equal(batch.next_observations, data.next_observations[[4, 0]])
    assert torch.equal(batch.actions, data.actions[[4, 0]])


def test_inputs_are_copied_and_cast():
    given = arrays(
        actions=np.ones((8, 3)),
        next_observations=np.ones((8, 2), np.float32),
        terminals=np.array(TERMINALS, np.uint8),
    )
    kept = {key: array.copy() for key, array in given.items()}
    data = Transitions.from_arrays(**given)
    assert {data.observations.dtype, data.actions.dtype, data.rewards.dtype} == {torch.float32}
    assert data.terminals.dtype == data.ends.dtype == torch.bool
    for tensor in (value for value in vars(data).values() if isinstance(value, torch.Tensor)):
        tensor.zero_()
    for key, array in kept.items():
        np.testing.assert_array_equal(given[key], array)


def test_moving_moves_every_tensor():
    data = Transitions.from_arrays(**arrays(), environment="Hopper-v5")
    with pytest.raises(ArgumentError, match="'vulkan', which PyTorch does not reach"):
        data.to("vulkan")
    data = data.to("meta")
    tensors = [value for value in vars(data).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 10
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert data.environment == "Hopper-v5"


def test_a_column_of_one_feature_is_a_vector():
    given = arrays()
    columns = {key: given[key][:, None] for key in ("rewards", "terminals", "timeouts")}
    data = Transitions.from_arrays(**arrays(**columns))
    assert torch.equal(data.rewards, Transitions.from_arrays(**given).rewards)
    assert data.ends.tolist() == Transitions.from_arrays(**given).ends.tolist()


def test_lengths_and_endings_of_the_recording():
    data = Transitions.from_arrays(**arrays())
    assert data.trajectory_lengths.tolist() == [3, 2, 1, 2]
    assert data.trajectory_terminal.tolist() == [True, False, True, False]


def test_timeouts_are_counted_where_there_are_none():
    # Three steps an episode: the terminal row 2 and the rows 5 and 8 end one.
    terminals = np.isin(np.arange(10), 2)
    data = Transitions.from_arrays(
        np.arange(10.0)[:, None], np.zeros((10, 1)), np.ones(10), terminals, max_episode_steps=3
    )
    assert data.trajectory_lengths.tolist() == [3, 3, 3, 1]
    assert data.trajectory_complete.tolist() == [True, True, True, False]
    assert data.observations.flatten().tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert data.next_observations.flatten().tolist() == [1, 2, 2, 4, 5, 7, 8]


def test_the_count_starts_again_after_a_terminal_row():
    terminals = np.isin(np.arange(6), 0)
    data = Transitions.from_arrays(
        np.zeros((6, 1)), np.zeros((6, 1)), np.ones(6), terminals, max_episode_steps=4
    )
    assert data.trajectory_lengths.tolist() == [1, 4, 1]


def test_timeouts_count_more_than_a_limit():
    given = arrays()
    assert torch.equal(
        Transitions.from_arrays(**given, max_episode_steps=2).rewards,
        Transitions.from_arrays(**given).rewards,
    )


def antmaze(**changes):
    """Two trajectories of four rows; in the first the goal is reached in a run of two rows."""
    reached = np.isin(np.arange(8), [1, 2])
    return Transitions.from_arrays(
        **{
            "observations": np.arange(8.0)[:, None],
            "actions": np.zeros((8, 1)),
            "rewards": reached.astype(float),
            "terminals": reached,
            "timeouts": np.isin(np.arange(8), [3, 7]),
            "terminals_end": False,
            **changes,
        }
    )


def test_runs_of_terminals_inside_a_trajectory():
    data = antmaze()
    # The rows 3 and 7 are cut; what follows a terminal row is the row after it.
    assert data.observations.flatten().tolist() == [0, 1, 2, 4, 5, 6]
    assert data.next_observations.flatten().tolist() == [1, 2, 3, 5, 6, 7]
    assert data.terminals.tolist() == [False, True, True, False, False, False]
    assert data.ends.tolist() == [False, False, True, False, False, True]
    # Success is one, not the number of rows at the goal.
    assert data.trajectory_returns.tolist() == [1.0, 0.0]
    assert data.trajectory_lengths.tolist() == [4, 4]
    assert data.trajectory_terminal.tolist() == [True, False]


def test_runs_of_terminals_split_where_a_terminal_ends():
    data = antmaze(terminals_end=True)
    assert data.trajectory_lengths.tolist() == [2, 1, 1, 4]
    assert data.trajectory_returns.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_a_run_of_terminals_counts_as_one_episode_without_timeouts():
    data = antmaze(timeouts=None, max_episode_steps=4)
    assert data.trajectory_lengths.tolist() == [4, 4]


def test_a_last_trajectory_that_reached_its_goal_is_complete():
    ended = antmaze(timeouts=np.isin(np.arange(8), [0]))
    assert ended.trajectory_complete.tolist() == [True, True]
    cut = antmaze(timeouts=np.isin(np.arange(8), [3]))
    assert cut.trajectory_complete.tolist() == [True, False]


@pytest.mark.parametrize("rows", ["all", "qlearning"])
def test_a_limit_that_no_episode_reaches_cuts_none(rows):
    given = arrays(timeouts=None)
    expected = Transitions.from_arrays(**given, rows=rows, max_episode_steps=1000)
    for limit in (9, 2**63 - 1, 10**30):
        found = Transitions.from_arrays(**given, rows=rows, max_episode_steps=limit)
        assert torch.equal(found.observations, expected.observations)
        assert torch.equal(found.ends, expected.ends)


@pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminals"])
def test_lists_of_several_lengths_are_no_array(key):
    with pytest.raises(DataError, match="rows of one length") as caught:
        Transitions.from_arrays(**{**arrays(), key: [[0.0], [0.0, 1.0]]})
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": "some"}, "'qlearning'"),
        *(({"max_episode_steps": limit}, "least 1") for limit in (0, 1.5, "5", True)),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ArgumentError, match=words):
        Transitions.from_arrays(**arrays(timeouts=None), **{"max_episode_steps": 5, **options})


def _with(key, index, value):
    array = arrays()[key].astype(np.float64)
    array[index] = value
    return {key: array}


@pytest.mark.parametrize(
    ("changes", "key", "row", "words"),
    [
        (_with("rewards", 5, np.nan), "rewards", 5, "nan"),
        (_with("observations", (3, 1), np.inf), "observations", 3, "inf"),
        (_with("actions", (6, 0), 1e300), "actions", 6, "finite float32"),
        (_with("timeouts", 4, 2), "timeouts", 4, "0 or 1"),
        (_with("terminals", 1, np.nan), "terminals", 1, "0 or 1"),
        ({"next_observations": np.full((8, 2), np.nan)}, "next_observations", 0, "nan"),
        ({"actions": np.zeros(8)}, "actions", None, r"\(rows, features\)"),
        ({"rewards": np.zeros((8, 2))}, "rewards", None, r"\(rows,\)"),
        ({"observations": np.zeros((8, 2), np.int64)}, "observations", None, "floating"),
        ({"actions": np.array([["a"]] * 8)}, "actions", None, "floating"),
        ({"terminals": np.zeros((8, 2), bool)}, "terminals", None, "bool"),
        ({"timeouts": None}, "timeouts", None, "max_episode_steps"),
        ({"rewards": np.zeros(7)}, "rewards", None, "7 rows, expected 8"),
        ({"timeouts": np.zeros(9, bool)}, "timeouts", None, "9 rows, expected 8"),
        ({"next_observations": np.zeros((8, 3))}, "next_observations", None, r"\(8, 3\)"),
        ({"observations": np.zeros((8, 0))}, "observations", None, "no features"),
        ({"timeouts": np.ones(8), "terminals": np.zeros(8)}, "timeouts", None, "no row"),
        ({key: value[:0] for key, value in arrays().items()}, None, None, "no rows"),
    ],
)
def test_bad_data_is_refused_with_its_place(changes, key, row, words):
    with pytest.raises(DataError, match=words) as caught:
        Transitions.from_arrays(**arrays(**changes), source="robot.log")
    error = caught.value
    assert (error.source, error.key, error.row) == ("robot.log", key, row)
    assert str(error).startswith("robot.log")
    assert key is None or f"key '{key}'" in str(error)
    assert row is None or f"row {row}:" in str(error)
