"""D4RL's HDF5 layout: files made by hand, damaged ones and real ones."""

import h5py
import numpy as np
import pytest
import torch
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.hdf5 import load_hdf5, save_hdf5

from tests.shared import shared_file


def arrays():
    return {
        "observations": np.array([[0.0], [1.0], [2.0], [10.0], [11.0]], np.float32),
        "actions": np.array([[0.1], [0.2], [0.3], [0.4], [0.5]], np.float32),
        "rewards": np.array([1.0, 2.0, 3.0, 4.0, 5.0], np.float32),
        "terminals": np.array([0, 0, 0, 0, 1], bool),
        "timeouts": np.array([0, 0, 1, 0, 0], bool),
    }


def test_rows_of_a_file_without_next_observations(tmp_path):
    save_hdf5(tmp_path / "a.hdf5", arrays(), "Hopper-v5")
    data = load_hdf5(tmp_path / "a.hdf5")
    assert data.environment == "Hopper-v5"
    assert data.observations.tolist() == [[0.0], [1.0], [10.0], [11.0]]
    assert data.next_observations.tolist() == [[1.0], [2.0], [11.0], [11.0]]
    assert data.rewards.tolist() == [1.0, 2.0, 4.0, 5.0]
    assert data.ends.tolist() == [False, True, False, True]
    assert data.returns().tolist() == [6.0, 9.0]


def test_rows_of_a_file_with_next_observations(tmp_path):
    following = np.array([[1.0], [2.0], [3.0], [11.0], [12.0]], np.float32)
    save_hdf5(tmp_path / "a.hdf5", {**arrays(), "next_observations": following}, "Hopper-v5")
    data = load_hdf5(tmp_path / "a.hdf5")
    assert data.next_observations.tolist() == following.tolist()
    assert data.observations.tolist() == arrays()["observations"].tolist()


def test_other_keys_and_a_missing_attribute_are_no_trouble(tmp_path):
    path = tmp_path / "a.hdf5"
    save_hdf5(path, {**arrays(), "infos/qpos": np.zeros((5, 2))}, "Hopper-v5")
    with h5py.File(path, "a") as file:
        del file.attrs["environment"]
    assert load_hdf5(path).environment is None


def test_saving_leaves_nothing_beside_the_file(tmp_path):
    with pytest.raises(TypeError):
        save_hdf5(tmp_path / "a.hdf5", {"observations": object()}, "Hopper-v5")  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminals", "timeouts"])
def test_a_missing_key_is_named(tmp_path, key):
    kept = arrays()
    del kept[key]
    save_hdf5(tmp_path / "a.hdf5", kept, "Hopper-v5")
    with pytest.raises(DataError, match=r"a\.hdf5.*no such array") as caught:
        load_hdf5(tmp_path / "a.hdf5")
    assert caught.value.key == key


def test_a_group_is_no_array(tmp_path):
    kept = arrays()
    kept["rewards/extrinsic"] = kept.pop("rewards")
    save_hdf5(tmp_path / "a.hdf5", kept, "Hopper-v5")
    with pytest.raises(DataError, match="key 'rewards'"):
        load_hdf5(tmp_path / "a.hdf5")


def test_a_bad_row_is_named_with_its_file(tmp_path):
    bad = arrays()
    bad["rewards"][3] = np.nan
    save_hdf5(tmp_path / "a.hdf5", bad, "Hopper-v5")
    with pytest.raises(DataError, match=r"a\.hdf5, key 'rewards', row 3: .*nan"):
        load_hdf5(tmp_path / "a.hdf5")


def test_an_absent_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_hdf5(tmp_path / "absent.hdf5")
    with pytest.raises(DataError, match="no such file"):
        load_hdf5(tmp_path)


@pytest.mark.parametrize("content", [b"", b"observations,actions\n1,2\n"])
def test_a_file_of_another_kind(tmp_path, content):
    (tmp_path / "a.hdf5").write_bytes(content)
    with pytest.raises(DataError, match="cannot read"):
        load_hdf5(tmp_path / "a.hdf5")


def test_a_truncated_file(tmp_path):
    path = tmp_path / "a.hdf5"
    save_hdf5(path, arrays(), "Hopper-v5")
    whole = path.read_bytes()
    for part in (0.3, 0.9):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(DataError, match=r"a\.hdf5: .*cannot read"):
            load_hdf5(path)


def test_a_real_file_with_next_observations():
    path = shared_file("data/hopper-medium-expert.hdf5")
    data = load_hdf5(path)
    assert data.observations.shape == data.next_observations.shape == (200_000, 11)
    assert data.actions.shape == (200_000, 3)
    assert data.environment == "Hopper-v5"
    assert int(data.terminals.sum()) == 277
    assert int(data.ends.sum()) == len(data.trajectory_returns) == 277 + 85
    # Inside a trajectory the stored next observation is the next row's observation.
    inside = ~data.ends[:-1]
    assert torch.equal(data.next_observations[:-1][inside], data.observations[1:][inside])
    assert not torch.equal(data.next_observations[:-1], data.observations[1:])


def test_a_real_file_without_next_observations():
    path = shared_file("data/halfcheetah-medium-expert.hdf5")
    data = load_hdf5(path)
    with h5py.File(path) as file:
        recorded = np.asarray(file["observations"]).reshape(200, 1000, 17)
        rewards = np.asarray(file["rewards"]).reshape(200, 1000)
    assert len(data) == 200 * 999
    assert data.environment == "HalfCheetah-v5"
    np.testing.assert_array_equal(data.observations.numpy().reshape(200, 999, 17), recorded[:, :-1])
    np.testing.assert_array_equal(
        data.next_observations.numpy().reshape(200, 999, 17), recorded[:, 1:]
    )
    assert data.ends.nonzero().flatten().tolist() == list(range(998, 200 * 999, 999))
    np.testing.assert_allclose(data.returns().numpy(), rewards.sum(1, dtype=float), rtol=1e-6)
