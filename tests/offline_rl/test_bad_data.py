"""Every kind of bad data is refused by every reader, with its place, before anything is trained."""

import gymnasium
import numpy as np
import pytest
import torch

from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.scaling import ActionScaling, RewardScaling
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.environments.making import action_bounds
from scoreregs_offline_rl.errors import DataError

ROWS = 12


def arrays():
    """Two trajectories of six steps of a pendulum, so to say."""
    row = np.arange(ROWS)
    return {
        "observations": np.stack([np.sin(row), np.cos(row), row / 8], 1).astype(np.float32),
        "actions": np.linspace(-2, 2, ROWS, dtype=np.float32)[:, None],
        "rewards": np.where(row < 6, 1.0, 2.0).astype(np.float32),
        "terminals": row == 5,
        "timeouts": row == 11,
        "next_observations": np.stack([np.sin(row + 1), np.cos(row + 1), row / 8], 1),
    }


def from_arrays(folder, given):
    return Transitions.from_arrays(**given, source="log", environment="Pendulum-v1"), "log"


def from_hdf5(folder, given):
    path = folder / "log.hdf5"
    save_hdf5(path, given, "Pendulum-v1")
    return load_data(path), str(path)


def from_npz(folder, given):
    path = folder / "log.npz"
    np.savez(path, **given, environment="Pendulum-v1")
    return load_data(path), str(path)


def from_d4rl(folder, given):
    path = folder / "hopper_medium-v2.hdf5"
    save_hdf5(path, given, "Pendulum-v1")
    return load_data("hopper-medium-v2"), str(path)


def from_minari(folder, given):
    minari = pytest.importorskip("minari")
    buffer = pytest.importorskip("minari.data_collector").EpisodeBuffer
    parts = [slice(0, 6), slice(6, None)]
    episodes = [
        buffer(
            id=number,
            observations=np.concatenate(
                [given["observations"][part], given["next_observations"][part][-1:]]
            ),
            actions=given["actions"][part],
            rewards=given["rewards"][part].tolist(),
            terminations=given["terminals"][part].tolist(),
            truncations=given["timeouts"][part].tolist(),
        )
        for number, part in enumerate(parts)
    ]
    environment = gymnasium.make("Pendulum-v1")
    minari.create_dataset_from_buffers(
        "test/log-v0",
        episodes,
        env=environment,
        observation_space=environment.observation_space,
        action_space=environment.action_space,
        data_format="hdf5",
    )
    return load_data("test/log-v0"), "test/log-v0"


FLAT = [from_arrays, from_hdf5, from_npz, from_d4rl]
ALL = [*FLAT, from_minari]


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    return lambda reader, **changes: reader(tmp_path, {**arrays(), **changes})


def with_value(key, index, value):
    array = arrays()[key].astype(np.float64)
    array[index] = value
    return {key: array}


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")


@pytest.mark.parametrize("reader", ALL)
def test_good_data_is_the_same_from_everywhere(read, reader):
    data, source = read(reader)
    expected = Transitions.from_arrays(**arrays())
    for name, value in vars(expected).items():
        if isinstance(value, torch.Tensor) and name != "next_observations":
            assert torch.equal(getattr(data, name), value), name
    assert (data.source, data.environment) == (source, "Pendulum-v1")
    # Minari's next observation is the observation of the next step.
    assert torch.equal(data.next_observations[[5, 11]], expected.next_observations[[5, 11]])


@pytest.mark.parametrize("reader", ALL)
@pytest.mark.parametrize("kind", [bool, np.int64, np.uint8, np.float16])
def test_rewards_may_be_marks_and_whole_numbers(read, reader, kind):
    marks = arrays()["rewards"].astype(kind)
    expected = Transitions.from_arrays(**{**arrays(), "rewards": marks.astype(np.float32)})
    data, _ = read(reader, rewards=marks)
    assert data.rewards.dtype == torch.float32
    assert torch.equal(data.rewards, expected.rewards)
    assert torch.equal(data.trajectory_returns, expected.trajectory_returns)


@pytest.mark.parametrize("reader", FLAT)
@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 1)])
def test_flags_may_be_numbers(read, reader, kind, shape):
    expected = Transitions.from_arrays(**arrays())
    flags = {key: arrays()[key].astype(kind).reshape(shape) for key in ("terminals", "timeouts")}
    data, _ = read(reader, **flags)
    assert torch.equal(data.terminals, expected.terminals)
    assert torch.equal(data.ends, expected.ends)


@pytest.mark.parametrize("reader", ALL)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("key", "index"), [("observations", (7, 1)), ("actions", (7, 0)), ("rewards", 7)]
)
def test_a_value_that_is_not_finite(read, reader, key, index, value):
    with pytest.raises(DataError, match=r"finite.*remove") as caught:
        read(reader, **with_value(key, index, value))
    assert (caught.value.key, caught.value.row) == (key, 7)
    assert "log" in str(caught.value.source) or "hopper" in str(caught.value.source)


@pytest.mark.parametrize("reader", FLAT)
@pytest.mark.parametrize("key", list(arrays()))
def test_unequal_lengths(read, reader, key):
    changes = {key: arrays()[key][:-1]}
    with pytest.raises(DataError, match=r"11 rows, expected 12|12 rows, expected 11"):
        read(reader, **changes)


@pytest.mark.parametrize("reader", FLAT)
@pytest.mark.parametrize(
    "changes",
    [
        {"observations": np.zeros((ROWS, 4, 4, 3))},
        {"actions": np.zeros(ROWS)},
        {"rewards": np.zeros((ROWS, 2))},
        {"terminals": np.zeros((ROWS, 2), bool)},
        {"timeouts": np.zeros((), bool)},
        {"next_observations": np.zeros((ROWS, 2))},
        {"observations": np.zeros((ROWS, 3), np.uint8)},
        {"actions": np.zeros((ROWS, 1), int)},
        {"rewards": np.array([b"1"] * ROWS)},
        {"terminals": np.full(ROWS, 0.5)},
        {"rewards": np.zeros(ROWS, complex)},
    ],
)
def test_a_wrong_rank_or_type(read, reader, changes):
    with pytest.raises(DataError, match=": ") as caught:
        read(reader, **changes)
    assert caught.value.key == next(iter(changes))


@pytest.mark.parametrize("reader", FLAT)
def test_no_rows(read, reader):
    with pytest.raises(DataError, match="no rows"):
        read(reader, **{key: array[:0] for key, array in arrays().items()})


@pytest.mark.parametrize("reader", FLAT)
@pytest.mark.parametrize("key", ["observations", "actions"])
def test_no_features(read, reader, key):
    empty = {key: np.zeros((ROWS, 0))}
    if key == "observations":
        empty["next_observations"] = np.zeros((ROWS, 0))
    with pytest.raises(DataError, match="no features") as caught:
        read(reader, **empty)
    assert caught.value.key == key


@pytest.mark.parametrize("reader", ALL)
def test_constant_rewards_have_no_return_range(read, reader):
    data, source = read(reader, rewards=np.ones(ROWS))
    with pytest.raises(DataError, match="'none'") as caught:
        RewardScaling.fit("return_range", data)
    assert (caught.value.source, caught.value.key) == (source, "rewards")


@pytest.mark.parametrize("reader", ALL)
def test_actions_beyond_the_bounds(read, reader, caplog):
    low, high = (torch.from_numpy(bound) for bound in action_bounds("Pendulum-v1"))
    data, source = read(reader, **with_value("actions", (7, 0), 2.5))
    with pytest.raises(DataError, match="environment") as caught:
        ActionScaling(low, high).normalize(data.actions, source=data.source)
    assert (caught.value.source, caught.value.key, caught.value.row) == (source, "actions", 7)


def test_roundings_beyond_the_bounds_are_clipped_and_counted(read, caplog):
    low, high = (torch.from_numpy(bound) for bound in action_bounds("Pendulum-v1"))
    data, source = read(from_hdf5, **with_value("actions", (7, 0), 2.0005))
    with caplog.at_level("INFO", "scoreregs_offline_rl"):
        scaled = ActionScaling(low, high).normalize(data.actions, source=data.source)
    assert scaled[7].item() == 1.0
    assert f"{source}: clipped 1 of 12 actions" in caplog.text
