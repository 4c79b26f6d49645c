"""What a name leads to."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl import TrainConfig
from scoreregs_offline_rl.configuration import from_dict, to_dict
from scoreregs_offline_rl.data import d4rl_data, sources
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.loading import DataKeys, LoadingConfig
from scoreregs_offline_rl.data.minari_data import load_minari
from scoreregs_offline_rl.data.sources import SOURCES, describe_sources, load_data
from scoreregs_offline_rl.errors import DataError, RunError
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.tasks import (
    PAPER_TASKS,
    d4rl_infos,
    find_task,
    reference_returns,
    task_of_file,
)


def arrays(rows=20):
    return {
        "observations": np.arange(2.0 * rows).reshape(rows, 2),
        "actions": np.zeros((rows, 1)),
        "rewards": np.ones(rows),
        "terminals": np.zeros(rows, bool),
        "timeouts": np.arange(rows) % 10 == 9,
    }


def test_files_by_their_ending(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    for name in ("a.hdf5", "a.h5", "a"):
        save_hdf5(tmp_path / name, arrays(), "Hopper-v5")
    for name in ("a.npz", "a.hdf5", "a.h5", "a"):
        assert len(load_data(tmp_path / name)) == len(load_data(str(tmp_path / name))) == 18


@pytest.mark.parametrize("name", ["absent.hdf5", "absent.h5", "absent.npz"])
def test_an_absent_file(tmp_path, name):
    with pytest.raises(DataError, match="no such file"):
        load_data(tmp_path / name)


def test_every_reader_is_told_how_to_read(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    save_hdf5(tmp_path / "a.hdf5", arrays(), "Hopper-v5")
    config = LoadingConfig(rows="qlearning")
    following = load_data("pendulum-swingup", config).next_observations[198]
    assert following.tolist() == load_data("pendulum-swingup").observations[199].tolist()
    assert len(load_data("pendulum-swingup", config)) == 450 * 199
    assert len(load_data(tmp_path / "a.npz", config)) == 18
    assert len(load_data(tmp_path / "a.hdf5", config)) == 18


def test_a_d4rl_name_is_looked_up_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    save_hdf5(tmp_path / "walker2d_medium_replay-v2.hdf5", arrays(), "")
    data = load_data("walker2d-medium-replay-v2")
    assert (len(data), data.environment) == (18, "Walker2d-v4")


@pytest.fixture
def loads(monkeypatch):
    """What each source is asked to load, in place of loading it."""
    asked: dict[str, list[str]] = {source.name: [] for source in SOURCES}

    def replaced(source):
        def load(name, config=None, *, progress):
            asked[source.name].append(os.fspath(name))
            progress(1, 2)

        return replace(source, load=load)

    monkeypatch.setattr(sources, "SOURCES", tuple(replaced(source) for source in SOURCES))
    return asked


def test_a_download_is_told_of(loads):
    told = []
    load_data("hopper-medium-v2", progress=lambda *bytes_: told.append(bytes_))
    assert told == [(1, 2)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_an_example_of_each_source_is_of_its_kind(loads, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / source.example
    if source.name == "minari-folder":
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "metadata.json").write_text("{}")
    if source.name == "lerobot-folder":
        (folder / "meta").mkdir(parents=True)
        (folder / "meta" / "info.json").write_text("{}")
    load_data(source.example)
    load_data(f"{source.name}:{source.example}")
    assert loads == {s.name: [source.example] * 2 * (s.name == source.name) for s in SOURCES}
    assert source.example in describe_sources()
    assert source.what in describe_sources()


def test_every_source_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "data-sources.md").read_text()
    for source in SOURCES:
        extra = f"`{source.extra}`"
        row = f"| {source.what} | `{source.example}` | {extra} |"
        assert row in page, row


def test_every_extra_of_a_source_is_one():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for source in SOURCES:
        assert f"\n{source.extra} = [" in text


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("D4RL/door/human-v2", "minari"),
        ("mine-v0", "minari"),
        ("lerobot/aloha_sim_insertion_human", "lerobot"),
        ("me/my.arm-data", "lerobot"),
        ("lerobot:me/arm-v2", "lerobot"),
        ("hopper-full-replay-v2", "d4rl"),
        ("antmaze-medium-play-v2", "d4rl"),
        ("antmaze-medium-navigate-v0", "ogbench"),
        ("folder/cube-single-play-v0.npz", "ogbench"),
    ],
)
def test_names_that_are_alike(loads, name, kind):
    load_data(name)
    assert [source for source, names in loads.items() if names] == [kind]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hopper-medium", "did you mean hopper-medium-v2"),
        ("hoper-medium-v2", "did you mean hopper-medium-v2"),
        ("pendulum-swing", "did you mean pendulum-swingup"),
        ("something else", "a Minari id"),
        (".", "a Minari id"),
    ],
)
def test_a_name_of_nothing(name, words):
    with pytest.raises(DataError, match=words):
        load_data(name)


def test_minari_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingDependencyError, match=r"scoreregs\[minari\]"):
        load_minari("mujoco/hopper/medium-v0")


def test_the_papers_fifteen_tasks():
    assert len(PAPER_TASKS) == len({task.url for task in PAPER_TASKS.values()}) == 15
    for name, task in PAPER_TASKS.items():
        assert task_of_file(task.file) == task
        assert find_task(name) == task
        assert reference_returns(name) is not None
    assert PAPER_TASKS["antmaze-large-play-v2"].file == (
        "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_False_sparse_fixed.hdf5"
    )


def test_tasks_and_references_are_those_of_d4rl():
    infos = d4rl_infos()
    if infos is None:
        pytest.skip("needs the d4rl package")
    for name, task in PAPER_TASKS.items():
        assert infos.DATASET_URLS[name] == task.url
        reference = reference_returns(name)
        assert reference is not None
        assert reference.random == infos.REF_MIN_SCORE[name]
        assert reference.expert == infos.REF_MAX_SCORE[name]


INFOS = """
DATASET_URLS = {"pen-human-v1": "http://127.0.0.1/x/pen.hdf5"}
REF_MIN_SCORE, REF_MAX_SCORE = {"pen-human-v1": 96.25}, {"pen-human-v1": 3076.5}
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A package `d4rl` whose import fails, as the real one's does without MuJoCo 2.1."""
    (tmp_path / "d4rl").mkdir()
    (tmp_path / "d4rl" / "__init__.py").write_text("raise OSError('no MuJoCo')")
    (tmp_path / "d4rl" / "infos.py").write_text(INFOS)
    monkeypatch.syspath_prepend(str(tmp_path))
    d4rl_infos.cache_clear()
    yield
    d4rl_infos.cache_clear()


def test_an_installed_d4rl_adds_names_and_references(stand_in, tmp_path, monkeypatch):
    task = find_task("pen-human-v1")
    assert task is not None
    assert (task.file, task.environment) == ("pen.hdf5", "pen-human-v1")
    reference = reference_returns("pen-human-v1")
    assert reference is not None
    assert (reference.random, reference.expert) == (96.25, 3076.5)
    assert reference_returns("pen-human-v7") is None
    assert find_task("hopper-medium-v2") == PAPER_TASKS["hopper-medium-v2"]
    assert "d4rl" not in sys.modules or not hasattr(sys.modules["d4rl"], "infos")
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    save_hdf5(tmp_path / "pen.hdf5", arrays(), "")
    assert len(load_data("pen-human-v1")) == 18


def test_another_package_called_d4rl(stand_in, tmp_path):
    (tmp_path / "d4rl" / "infos.py").unlink()
    assert find_task("pen-human-v1") is None
    assert find_task("hopper-medium-v2") == PAPER_TASKS["hopper-medium-v2"]


def test_a_folder_of_something_else_is_no_minari_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine-v0").mkdir()
    with pytest.raises(DataError, match="no file and no known name"):
        load_data("mine-v0")


def test_a_name_that_only_d4rl_knows(monkeypatch):
    monkeypatch.setattr("scoreregs_offline_rl.tasks.d4rl.d4rl_infos", lambda: None)
    with pytest.raises(DataError, match=r"hopper-medium-v2.*scoreregs\[d4rl\]"):
        d4rl_data.load_d4rl("pen-human-v1")


def test_a_run_remembers_how_its_data_was_read():
    loading = LoadingConfig(
        keys=DataKeys(observations="state"), rows="qlearning", mirrors=("http://here",)
    )
    config = TrainConfig(data="log.npz", loading=loading)
    assert from_dict(TrainConfig, to_dict(config)) == config


def test_a_run_reads_its_data_as_configured(tmp_path):
    given = arrays()
    given["state"] = given.pop("observations")
    np.savez(tmp_path / "log.npz", **given)
    bad = TrainConfig(data=str(tmp_path / "log.npz"))
    with pytest.raises(DataError, match="key 'observations'"):
        train(bad, tmp_path / "run")
    named = replace(bad, loading=LoadingConfig(keys=DataKeys(observations="state")))
    # The data is read; what is still missing is a temperature.
    with pytest.raises(RunError, match="beta"):
        train(named, tmp_path / "run")
    assert not (tmp_path / "run").exists()
