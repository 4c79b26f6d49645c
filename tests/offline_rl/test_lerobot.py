"""LeRobot's data sets, written by pyarrow as the format says, row for row."""

import itertools
import json
import sys
from typing import Any

import numpy as np
import pytest
import torch

from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.data.lerobot_data import load_lerobot
from scoreregs_offline_rl.data.loading import DataKeys, LoadingConfig
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.errors import DataError

EPISODES = (4, 3, 5)
FRAMES = sum(EPISODES)


@pytest.fixture
def arrow() -> Any:
    pytest.importorskip("pyarrow.parquet")
    return pytest.importorskip("pyarrow")


def columns(**changes):
    """Three episodes; the state tells which and when, the second one is a success."""
    episode = np.repeat(np.arange(3), EPISODES)
    frame = np.concatenate([np.arange(length) for length in EPISODES])
    last = np.append(np.diff(episode) != 0, True)
    given = {
        "observation.state": np.stack([episode, frame], 1).astype(np.float32),
        "action": np.stack([frame / 10, -frame / 10, episode / 10], 1).astype(np.float32),
        "timestamp": (frame / 10).astype(np.float32),
        "frame_index": frame,
        "episode_index": episode,
        "index": np.arange(FRAMES),
        "task_index": np.zeros(FRAMES, int),
        "next.reward": (frame + 10 * episode).astype(np.float32),
        "next.done": last,
        "next.success": last & (episode == 1),
        **changes,
    }
    return {key: array for key, array in given.items() if array is not None}


def write(pa, folder, given, version="v3.0", **info):
    parquet = pa.parquet

    types = {key: (array.dtype.name, list(array.shape[1:]) or [1]) for key, array in given.items()}
    features = {
        key: {"dtype": kind, "shape": shape, "names": None} for key, (kind, shape) in types.items()
    }
    features["observation.images.top"] = {"dtype": "video", "shape": [3, 96, 96], "names": None}
    content = {
        "codebase_version": version,
        "robot_type": "arm",
        "total_episodes": len(EPISODES),
        "total_frames": FRAMES,
        "total_tasks": 1,
        "fps": 10,
        "features": features,
        **info,
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(content))
    fields = {}
    for key, array in given.items():
        flat = pa.array(array.reshape(-1))
        wide = array.ndim == 2
        fields[key] = pa.FixedSizeListArray.from_arrays(flat, array.shape[1]) if wide else flat
    table = pa.table(fields)
    (folder / "data" / "chunk-000").mkdir(parents=True)
    (folder / "data" / "chunk-001").mkdir()
    starts = np.cumsum((0, *EPISODES))
    if version == "v3.0":
        # Two files of several episodes; the first ends within the last chunk.
        for number, (start, stop) in enumerate([(0, 7), (7, FRAMES)]):
            file = folder / "data" / f"chunk-00{number}" / "file-000.parquet"
            parquet.write_table(table.slice(start, stop - start), file, row_group_size=3)
    else:
        for number, (start, stop) in enumerate(itertools.pairwise(starts)):
            file = folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet"
            parquet.write_table(table.slice(start, stop - start), file)
    return folder


@pytest.mark.parametrize("version", ["v3.0", "v2.1", "v2.0"])
def test_every_frame_with_what_followed(arrow, tmp_path, version):
    data = load_data(write(arrow, tmp_path / "set", columns(), version))
    # The last frame of the first and third episode is cut, so what followed is not there.
    kept = [(0, t) for t in range(3)] + [(1, t) for t in range(3)] + [(2, t) for t in range(4)]
    assert data.observations.tolist() == [[e, t] for e, t in kept]
    assert data.next_observations.tolist() == [
        [e, t + 1] if (e, t) != (1, 2) else [1, 2] for e, t in kept
    ]
    assert data.rewards.tolist() == [10.0 * e + t for e, t in kept]
    torch.testing.assert_close(
        data.actions, torch.tensor([[t / 10, -t / 10, e / 10] for e, t in kept])
    )
    assert data.terminals.nonzero().flatten().tolist() == [5]
    assert data.ends.nonzero().flatten().tolist() == [2, 5, 9]
    # Of all recorded rewards.
    assert data.returns().tolist() == [6.0, 33.0, 110.0]
    assert data.environment is None


def test_frames_out_of_order_are_put_in_order(arrow, tmp_path):
    mixed = np.random.default_rng(0).permutation(FRAMES)
    shuffled = {key: array[mixed] for key, array in columns().items()}
    data = load_data(write(arrow, tmp_path / "set", shuffled))
    expected = load_data(write(arrow, tmp_path / "other", columns()))
    for name, value in vars(expected).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(data, name), value), name


def episode_ends(**changes):
    return columns(**{"next.success": None, **changes})


@pytest.mark.parametrize(
    ("changes", "terminal"),
    [
        # In the last frame of every episode `next.done` says only where it is over.
        ({}, [False, False, False]),
        ({"next.done": None}, [False, False, False]),
        ({"next.done": np.isin(np.arange(FRAMES), [3])}, [True, False, False]),
        ({"next.truncated": np.isin(np.arange(FRAMES), [3, 6])}, [False, False, True]),
    ],
)
def test_what_is_terminal_without_a_record_of_success(arrow, tmp_path, changes, terminal):
    data = load_data(write(arrow, tmp_path / "set", episode_ends(**changes)))
    assert data.trajectory_terminal.tolist() == terminal


def test_the_user_says_what_is_terminal(arrow, tmp_path):
    config = LoadingConfig(keys=DataKeys(terminals="next.done"))
    data = load_data(write(arrow, tmp_path / "set", columns()), config)
    assert data.trajectory_terminal.tolist() == [True, True, True]


def test_rewards_from_success(arrow, tmp_path):
    folder = write(arrow, tmp_path / "set", columns(**{"next.reward": None}))
    with pytest.raises(DataError, match=r"--loading\.rewards success") as caught:
        load_data(folder)
    assert caught.value.key == "next.reward"
    data = load_data(folder, LoadingConfig(rewards="success"))
    assert data.returns().tolist() == [0.0, 1.0, 0.0]
    assert data.rewards.nonzero().flatten().tolist() == [5]
    assert data.terminals.nonzero().flatten().tolist() == [5]
    without = write(arrow, tmp_path / "b", columns(**{"next.reward": None, "next.success": None}))
    with pytest.raises(DataError, match="success"):
        load_data(without, LoadingConfig(rewards="success"))


@pytest.mark.parametrize("kind", [bool, np.int64, np.uint8])
def test_a_reward_may_be_a_mark(arrow, tmp_path, kind):
    given = columns()
    marks = (np.arange(len(given["next.reward"])) % 3 == 0).astype(kind)
    folder = write(arrow, tmp_path / "set", {**given, "annotation.mark": marks})
    data = load_data(folder, LoadingConfig(keys=DataKeys(rewards="annotation.mark")))
    assert set(data.rewards.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("key", ["next.done", "next.success", "next.truncated"])
@pytest.mark.parametrize(
    "flags", [np.full(FRAMES, 0.5), np.array(["False"] * FRAMES), np.zeros((FRAMES, 2), bool)]
)
def test_a_flag_that_is_none_is_refused(arrow, tmp_path, key, flags):
    folder = write(arrow, tmp_path / "set", columns(**{key: flags}))
    with pytest.raises(DataError, match="bool") as caught:
        load_data(folder)
    assert caught.value.key == key


def test_what_does_not_fit_into_memory(arrow, tmp_path, monkeypatch):
    folder = write(arrow, tmp_path / "set", columns())
    monkeypatch.setattr("scoreregs_offline_rl.data.room._memory", lambda: 400)
    with pytest.raises(DataError, match="memory left here") as caught:
        load_data(folder)
    assert caught.value.key in columns()


def test_lists_of_any_kind_are_rows(arrow, tmp_path):
    """As polars writes them."""
    folder = write(arrow, tmp_path / "set", columns())
    expected = load_data(folder)
    pa, parquet = arrow, arrow.parquet
    for path in folder.rglob("*.parquet"):
        table = parquet.read_table(path)
        fields = {
            name: column.cast(pa.large_list(column.type.value_type))
            if pa.types.is_fixed_size_list(column.type)
            else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        parquet.write_table(pa.table(fields), path)
    found = load_data(folder)
    torch.testing.assert_close(found.actions, expected.actions, rtol=0, atol=0)
    torch.testing.assert_close(found.observations, expected.observations, rtol=0, atol=0)


def test_a_sparse_reward_by_its_column(arrow, tmp_path):
    sparse = np.isin(np.arange(FRAMES), [5]).astype(np.float32)[:, None]
    folder = write(arrow, tmp_path / "set", columns(**{"annotation.progress": sparse}))
    data = load_data(folder, LoadingConfig(keys=DataKeys(rewards="annotation.progress")))
    assert data.returns().tolist() == [0.0, 1.0, 0.0]


def test_the_state_of_the_scene_follows_that_of_the_robot(arrow, tmp_path):
    scene = np.arange(3.0 * FRAMES, dtype=np.float32).reshape(FRAMES, 3)
    folder = write(arrow, tmp_path / "set", columns(**{"observation.environment_state": scene}))
    data = load_data(folder)
    assert data.observations[0].tolist() == [0, 0, 0, 1, 2]
    only = LoadingConfig(keys=DataKeys(observations="observation.environment_state"))
    assert load_data(folder, only).observations[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("changes", "info", "words"),
    [
        ({"action": np.zeros((FRAMES, 1), int)}, {}, "discrete actions"),
        ({"observation.state": None}, {}, "observation.state.*no such"),
        ({"action": np.full((FRAMES, 1), np.nan, np.float32)}, {}, "finite"),
        ({"frame_index": np.zeros(FRAMES, int)}, {}, "frame_index"),
        ({}, {"total_frames": 13}, "12 frames, expected 13"),
        ({}, {"codebase_version": "v1.6"}, "v1.6, expected v2.0"),
        ({}, {"features": []}, "no features"),
    ],
)
def test_what_cannot_be_used(arrow, tmp_path, changes, info, words):
    folder = write(arrow, tmp_path / "set", columns(**changes), **info)
    with pytest.raises(DataError, match=words):
        load_data(folder)


def test_a_folder_that_lacks_a_file(arrow, tmp_path):
    folder = write(arrow, tmp_path / "set", columns())
    (folder / "data" / "chunk-001" / "file-000.parquet").unlink()
    with pytest.raises(DataError, match="7 frames, expected 12"):
        load_data(folder)
    (folder / "data" / "chunk-000" / "file-000.parquet").write_bytes(b"PAR1 no parquet PAR1")
    with pytest.raises(DataError, match="can be read"):
        load_data(folder)
    (folder / "meta" / "info.json").write_text("[")
    with pytest.raises(DataError, match="can be read"):
        load_data(folder)


@pytest.mark.parametrize("empty", [True, False])
def test_lists_of_several_lengths_and_empty_values(arrow, tmp_path, empty):
    parquet = arrow.parquet

    folder = write(arrow, tmp_path / "set", columns(), "v2.1")
    file = folder / "data" / "chunk-000" / "episode_000001.parquet"
    table = parquet.read_table(file)
    rows = [[1.0, 2.0, 3.0], None, [1.0, 2.0, 3.0]] if empty else [[1.0], [1.0, 2.0], [3.0] * 6]
    place = table.column_names.index("action")
    table = table.set_column(place, "action", arrow.array(rows, arrow.list_(arrow.float32())))
    parquet.write_table(table, file)
    with pytest.raises(DataError, match="lists of several lengths") as caught:
        load_data(folder)
    assert caught.value.key == "action"


def test_several_tasks_are_told(arrow, tmp_path, caplog):
    load_data(write(arrow, tmp_path / "set", columns(), total_tasks=3))
    assert "3 tasks are mixed" in caplog.text


def test_an_id_is_downloaded_without_its_pictures(arrow, tmp_path, monkeypatch):
    asked = {}
    folder = write(arrow, tmp_path / "set", columns())

    def snapshot(name, **options):
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("scoreregs_offline_rl.data.lerobot_data.snapshot_download", snapshot)
    assert len(load_data("lerobot/pusht")) == len(load_data("lerobot:me/arm-v2")) == 10
    assert asked == {
        "name": "me/arm-v2",
        "repo_type": "dataset",
        "allow_patterns": ["meta/**", "data/**"],
    }


def test_a_hub_that_does_not_answer(arrow, monkeypatch):
    from huggingface_hub.errors import HfHubHTTPError

    def fail(name, **options):
        raise HfHubHTTPError.__bases__[0]("no\n network")

    monkeypatch.setattr("scoreregs_offline_rl.data.lerobot_data.snapshot_download", fail)
    with pytest.raises(DataError, match=r"lerobot/pusht: .*no network"):
        load_data("lerobot/pusht")


def test_pyarrow_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"scoreregs\[lerobot\]"):
        load_lerobot(tmp_path)


def test_one_file_of_a_data_set(tmp_path):
    (tmp_path / "file-000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="the folder"):
        load_data(tmp_path / "file-000.parquet")


STATE, ACTION = "observation.state", "action"


def nested(names, depth):
    for _ in range(depth):
        names = [names]
    return names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({STATE: ["x", "y"], ACTION: ["a", "b", "c"]}, ["x", "y", "a", "b", "c"]),
        (
            {STATE: {"motors": ["x", "y"]}, ACTION: [["a"], ["b", "c"]]},
            ["x", "y", "a", "b", "c"],
        ),
        (
            {STATE: ["x", "x"], ACTION: ["a"]},
            [f"{STATE}_0", f"{STATE}_1", *(f"{ACTION}_{index}" for index in range(3))],
        ),
        (
            {STATE: [1, 2], ACTION: None},
            [f"{STATE}_0", f"{STATE}_1", *(f"{ACTION}_{index}" for index in range(3))],
        ),
        (
            # Deeper than Python calls functions.
            {STATE: ["x\ny", "\ud800"], ACTION: nested(["a", "b", "c"], 480)},
            [f"{STATE}_0", f"{STATE}_1", "a", "b", "c"],
        ),
    ],
)
def test_names_and_rate_are_the_policys(arrow, tmp_path, names, expected):
    folder = write(arrow, tmp_path / "arm", columns())
    info = json.loads((folder / "meta/info.json").read_text())
    for column, its in names.items():
        info["features"][column]["names"] = its
    (folder / "meta/info.json").write_text(json.dumps(info))
    interface = load_lerobot(folder).interface
    assert interface is not None
    assert interface.rate == 10
    assert [signal.name for signal in interface.observations + interface.actions] == expected


@pytest.mark.parametrize("fps", [None, 0, "10", True, 10**400])
def test_a_rate_that_is_none(arrow, tmp_path, fps):
    assert load_lerobot(write(arrow, tmp_path / "arm", columns(), fps=fps)).interface is None
