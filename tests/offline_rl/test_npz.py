"""A person's own NPZ logs."""

import numpy as np
import pytest
import torch

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.hdf5 import load_hdf5, save_hdf5
from scoreregs_offline_rl.data.loading import DataKeys, LoadingConfig
from scoreregs_offline_rl.data.npz import load_npz
from scoreregs_offline_rl.errors import DataError


def arrays(rows=20):
    generator = np.random.default_rng(0)
    return {
        "observations": generator.normal(size=(rows, 3)),
        "actions": generator.uniform(-1, 1, size=(rows, 2)),
        "rewards": generator.normal(size=rows),
        "terminals": np.arange(rows) % 10 == 9,
        "timeouts": np.arange(rows) % 10 == 4,
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_are_those_of_the_same_hdf5_file(tmp_path, save):
    save(tmp_path / "a.npz", **arrays(), environment="Hopper-v5", extra=np.arange(3))
    save_hdf5(tmp_path / "a.hdf5", arrays(), "Hopper-v5")
    data, expected = load_npz(tmp_path / "a.npz"), load_hdf5(tmp_path / "a.hdf5")
    for name, value in vars(expected).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(data, name), value), name
    assert data.environment == "Hopper-v5"


def test_keys_and_options_reach_the_rows(tmp_path):
    given = arrays()
    given["obs"] = given.pop("observations")
    np.savez(tmp_path / "a.npz", **given)
    keys = DataKeys(observations="obs")
    data = load_npz(tmp_path / "a.npz", LoadingConfig(keys=keys, rows="qlearning"))
    assert len(data) == 20 - 2 - 1
    assert data.environment is None
    del given["timeouts"]
    np.savez(tmp_path / "a.npz", **given)
    counted = load_npz(tmp_path / "a.npz", LoadingConfig(keys=keys, max_episode_steps=6))
    assert counted.trajectory_lengths.tolist() == [6, 4, 6, 4]


@pytest.mark.parametrize("key", ["observations", "actions", "rewards", "terminals", "timeouts"])
def test_a_missing_key_is_named(tmp_path, key):
    given = arrays()
    del given[key]
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(DataError, match=r"a\.npz.*no such array") as caught:
        load_npz(tmp_path / "a.npz")
    assert caught.value.key == key


def test_python_objects_are_not_unpickled(tmp_path):
    given = {**arrays(), "rewards": np.array([{}] * 20)}
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(DataError, match=r"a\.npz: .*without Python objects"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("changes", "key", "row"),
    [
        ({"rewards": np.zeros(19)}, "rewards", None),
        ({"actions": np.zeros((20, 2, 2))}, "actions", None),
        ({"observations": np.zeros((20, 3), np.int32)}, "observations", None),
        ({"actions": np.where(np.arange(20) == 7, np.nan, 0.0)[:, None]}, "actions", 7),
        ({"rewards": np.where(np.arange(20) == 3, np.inf, 0.0)}, "rewards", 3),
        ({name: array[:0] for name, array in arrays().items()}, None, None),
    ],
)
def test_bad_data_is_refused_with_its_place(tmp_path, changes, key, row):
    np.savez(tmp_path / "a.npz", **{**arrays(), **changes})
    with pytest.raises(DataError, match=r"a\.npz") as caught:
        load_npz(tmp_path / "a.npz")
    assert (caught.value.key, caught.value.row) == (key, row)


def test_files_of_another_kind(tmp_path):
    for content in (b"", b"observations,actions\n", b"PK\x03\x04 not a zip"):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npz: .*cannot read"):
            load_npz(tmp_path / "a.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match="one array without a key"):
        load_npz(tmp_path / "one.npy")
    with pytest.raises(DataError, match="no such file"):
        load_npz(tmp_path / "absent.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file(tmp_path, save):
    save(tmp_path / "a.npz", **arrays(2000))
    content = (tmp_path / "a.npz").read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    scribbled = content[:100] + b"\xff" * 50 + content[150:]
    for damaged in (content[: len(content) // 2], content[:-30], bytes(flipped), scribbled):
        (tmp_path / "a.npz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.npz: .*cannot read"):
            load_npz(tmp_path / "a.npz")


def test_a_wrong_option_is_not_a_damaged_file(tmp_path):
    given = arrays()
    del given["timeouts"]
    np.savez(tmp_path / "a.npz", **given)
    with pytest.raises(ArgumentError, match="expected int in"):
        load_npz(tmp_path / "a.npz", LoadingConfig(max_episode_steps=-1))


def test_no_limit_is_told_where_there_is_none(tmp_path, caplog):
    given = arrays()
    del given["timeouts"]
    np.savez(tmp_path / "a.npz", **given)
    caplog.set_level("INFO")
    with pytest.raises(DataError, match="max_episode_steps"):
        load_npz(tmp_path / "a.npz")
    assert "None steps" not in caplog.text
