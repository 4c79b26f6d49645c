"""Scalings against closed forms."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.hdf5 import load_hdf5
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling, RewardScaling
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from tests.shared import shared_file


def trajectories(*rewards):
    """One cut trajectory per list of rewards, with next observations."""
    rows = sum(map(len, rewards))
    ends = np.cumsum([len(part) for part in rewards]) - 1
    return Transitions.from_arrays(
        observations=np.zeros((rows, 1)),
        actions=np.zeros((rows, 1)),
        rewards=np.concatenate([np.asarray(part, dtype=float) for part in rewards]),
        terminals=np.zeros(rows),
        timeouts=np.isin(np.arange(rows), ends),
        next_observations=np.zeros((rows, 1)),
    )


def test_observations_are_standardised_also_far_from_zero():
    exact = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    raw = (exact * torch.tensor([0.1, 1.0, 50.0]) + torch.tensor([1000.0, 0.0, -3.0])).float()
    scaled = ObservationScaling.fit(raw)(raw).double()
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3).double(), atol=2e-3, rtol=0)
    torch.testing.assert_close(
        scaled.std(0, correction=0), torch.ones(3).double(), atol=1e-4, rtol=0
    )


def test_a_constant_observation_stays_finite_and_small():
    raw = torch.full((10, 1), 3.0)
    scaling = ObservationScaling.fit(raw)
    assert scaling(raw).abs().max() == 0
    assert scaling(raw + 1e-4).max() == pytest.approx(1e-4, rel=0.01)


def test_identity_leaves_observations():
    raw = torch.randn(4, 2)
    assert torch.equal(ObservationScaling.identity(2)(raw), raw)


def test_actions_map_to_the_unit_box_and_back():
    scaling = ActionScaling(torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 10.0]))
    raw = torch.tensor([[-2.0, 10.0], [0.0, 5.0], [1.0, 2.5]])
    scaled = scaling.normalize(raw)
    assert scaled.tolist() == [[-1.0, 1.0], [0.0, 0.0], [0.5, -0.5]]
    assert torch.equal(scaling.denormalize(scaled), raw)


def test_rounding_beyond_a_bound_is_clipped_counted_and_not_in_place(caplog):
    scaling = ActionScaling(-torch.ones(1), torch.ones(1))
    raw = torch.tensor([[1.0000002], [0.5], [-1.0005]])
    kept = raw.clone()
    with caplog.at_level(logging.INFO, "scoreregs_offline_rl"):
        scaled = scaling.normalize(raw, source="robot.log")
    assert scaled.tolist() == [[1.0], [0.5], [-1.0]]
    assert torch.equal(raw, kept)
    assert "robot.log: clipped 2 of 3 actions" in caplog.text


def test_nothing_is_logged_where_nothing_is_clipped(caplog):
    with caplog.at_level(logging.INFO, "scoreregs_offline_rl"):
        ActionScaling(-torch.ones(1), torch.ones(1)).normalize(torch.tensor([[1.0], [-1.0]]))
    assert caplog.text == ""


def test_actions_of_another_environment_are_refused():
    scaling = ActionScaling(-torch.ones(2), torch.ones(2))
    with pytest.raises(DataError, match=r"robot.log, key 'actions', row 1: .*1\.5"):
        scaling.normalize(torch.tensor([[0.0, 1.0], [1.5, 0.0], [9.0, 0.0]]), source="robot.log")
    with pytest.raises(DataError, match=r"\(1, 3\), expected \(rows, 2\)"):
        scaling.normalize(torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("low", "high"),
    [([-1.0], [-1.0]), ([1.0], [-1.0]), ([-1.0], [float("inf")]), ([-1.0], [1.0, 1.0])],
)
def test_bounds_without_an_interval_are_refused(low, high):
    with pytest.raises(ArgumentError, match="expected two finite vectors"):
        ActionScaling(torch.tensor(low), torch.tensor(high))


def test_return_range_spans_a_thousand():
    data = trajectories([1.0, 2.0], [10.0, -4.0, 1.0], [0.0, 2.0])
    scaling = RewardScaling.fit("return_range", data)
    assert scaling.shift == 0
    assert scaling.scale == pytest.approx(1000 / (7 - 2))
    assert scaling(data.rewards)[0].item() == pytest.approx(200.0)


def test_return_range_leaves_out_a_trajectory_cut_by_the_end_of_the_data():
    data = trajectories([1.0, 2.0], [10.0, -4.0], [100.0])
    cut = replace(data, trajectory_complete=torch.tensor([True, True, False]))
    assert RewardScaling.fit("return_range", cut).scale == pytest.approx(1000 / 3)


@pytest.mark.parametrize("rewards", [([1.0, 2.0],), ([1.0, 2.0], [3.0]), ([0.1, 0.2], [0.2, 0.1])])
def test_constant_returns_have_no_range(rewards):
    with pytest.raises(DataError, match=r"key 'rewards'.*return.*'none'"):
        RewardScaling.fit("return_range", trajectories(*rewards))


def test_other_reward_scalings():
    data = trajectories([1.0, 2.0])
    assert RewardScaling.fit("antmaze", data)(data.rewards).tolist() == [0.0, 1.0]
    assert torch.equal(RewardScaling.fit("none", data)(data.rewards), data.rewards)
    with pytest.raises(ArgumentError, match=r"'range'.*'return_range'"):
        RewardScaling.fit("range", data)


def test_return_range_of_a_real_file_uses_the_rewards_of_dropped_rows():
    import h5py

    path = shared_file("data/halfcheetah-medium.hdf5")
    with h5py.File(path) as file:
        returns = np.asarray(file["rewards"]).reshape(200, 1000).sum(1, dtype=float)
    expected = 1000 / (returns.max() - returns.min())
    assert RewardScaling.fit("return_range", load_hdf5(path)).scale == pytest.approx(expected, 1e-5)
