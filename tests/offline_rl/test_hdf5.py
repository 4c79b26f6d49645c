"""D4RL's HDF5 layout: files made by hand, damaged ones and real ones."""

import h5py
import numpy as np
import pytest
import torch

from scoreregs_offline_rl.data.hdf5 import check_hdf5, load_hdf5, save_hdf5
from scoreregs_offline_rl.data.loading import DataKeys, LoadingConfig
from scoreregs_offline_rl.data.scaling import RewardScaling
from scoreregs_offline_rl.errors import DataError
from tests.shared import shared_file

ANTMAZE_FILE = "Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed.hdf5"


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


@pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminals"])
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


def test_missing_timeouts_are_counted_by_the_files_environment(tmp_path):
    rows = 401
    recorded = {key: np.resize(array, (rows, *array.shape[1:])) for key, array in arrays().items()}
    del recorded["timeouts"]
    recorded["terminals"] = np.zeros(rows, bool)
    save_hdf5(tmp_path / "a.hdf5", recorded, "Pendulum-v1")
    assert load_hdf5(tmp_path / "a.hdf5").trajectory_lengths.tolist() == [200, 200, 1]
    config = LoadingConfig(max_episode_steps=300)
    assert load_hdf5(tmp_path / "a.hdf5", config).trajectory_lengths.tolist() == [300, 101]
    save_hdf5(tmp_path / "b.hdf5", recorded, "Mine-v0")
    with pytest.raises(DataError, match=r"b\.hdf5, key 'timeouts': .*`max_episode_steps`"):
        load_hdf5(tmp_path / "b.hdf5")


def test_keys_that_a_person_names(tmp_path):
    given = arrays()
    names = {"observations": "log/state", "actions": "log/torque", "terminals": "failed"}
    save_hdf5(
        tmp_path / "a.hdf5",
        {names.get(key, key): array for key, array in given.items()},
        "Hopper-v5",
    )
    config = LoadingConfig(keys=DataKeys(**names))
    data = load_hdf5(tmp_path / "a.hdf5", config)
    save_hdf5(tmp_path / "b.hdf5", given, "Hopper-v5")
    plain = load_hdf5(tmp_path / "b.hdf5")
    for name in ("observations", "actions", "rewards", "next_observations", "terminals", "ends"):
        assert torch.equal(getattr(data, name), getattr(plain, name))
    absent = LoadingConfig(keys=DataKeys(**names, next_observations="log/next"))
    with pytest.raises(DataError, match=r"key .log/next.: .*log/state.*keys\.next_observations"):
        load_hdf5(tmp_path / "a.hdf5", absent)


def test_a_bad_row_is_named_by_the_persons_key(tmp_path):
    given = arrays()
    given["actions"][2] = np.inf
    given["torque"] = given.pop("actions")
    save_hdf5(tmp_path / "a.hdf5", given, "Hopper-v5")
    with pytest.raises(DataError, match="key 'torque', row 2") as caught:
        load_hdf5(tmp_path / "a.hdf5", LoadingConfig(keys=DataKeys(actions="torque")))
    assert (caught.value.key, caught.value.row) == ("torque", 2)


@pytest.mark.parametrize("name", ["antmaze-umaze-v2.hdf5", ANTMAZE_FILE])
def test_antmaze_is_known_by_the_files_name(tmp_path, name):
    rows = 1500
    save_hdf5(
        tmp_path / name,
        {
            "observations": np.zeros((rows, 2), np.float32),
            "actions": np.zeros((rows, 1), np.float32),
            "rewards": np.isin(np.arange(rows), [5, 6, 7]).astype(np.float32),
            "terminals": np.isin(np.arange(rows), [5, 6, 7]),
        },
        "",
    )
    data = load_hdf5(tmp_path / name)
    assert data.trajectory_lengths.tolist() == [700, 700, 100]
    assert data.trajectory_returns.tolist() == [1.0, 0.0, 0.0]
    assert data.environment == "antmaze-umaze-v2"
    split = load_hdf5(tmp_path / name, LoadingConfig(terminals_end=True))
    assert split.trajectory_lengths.tolist() == [6, 1, 1, 700, 700, 92]
    assert RewardScaling.fit("antmaze", data)(data.rewards)[4:6].tolist() == [-1.0, 0.0]


def test_a_whole_file_without_arrays_is_no_data(tmp_path):
    save_hdf5(tmp_path / "a.hdf5", {}, "")
    with pytest.raises(DataError, match="no arrays"):
        check_hdf5(tmp_path / "a.hdf5")
    save_hdf5(tmp_path / "b.hdf5", arrays(), "")
    check_hdf5(tmp_path / "b.hdf5")


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


def test_a_name_that_is_no_text_is_left_alone(tmp_path):
    save_hdf5(tmp_path / "a.hdf5", arrays(), "Hopper-v5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file[b"\xff"] = np.zeros(3)
    assert len(load_hdf5(tmp_path / "a.hdf5")) == 4


@pytest.mark.parametrize("error", [OSError, RuntimeError, KeyError, ValueError])
def test_a_damaged_array(tmp_path, monkeypatch, error):
    save_hdf5(tmp_path / "a.hdf5", arrays(), "Hopper-v5")

    def fail(*arguments):
        raise error("damaged")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", fail)
    with pytest.raises(DataError, match=r"a\.hdf5: .*cannot read .*damaged"):
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
