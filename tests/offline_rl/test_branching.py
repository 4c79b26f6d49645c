"""A finished run is given more steps, in a directory of its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from scoreregs_offline_rl import RunError, SweepGrid, rehearse, sweep, train
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.data.hdf5 import load_hdf5, save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.files import load_json
from tests.offline_rl.test_timing import small


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    return path


@pytest.fixture(scope="module")
def finished(data_file, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    train(small(data_file), run_dir)
    return run_dir


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refuse(*names):
    def progress(stage, step, steps, metrics):
        assert stage not in names, f"the {stage} stage was trained again"

    return progress


def test_more_steps_give_what_a_run_of_so_many_gives(data_file, finished, tmp_path):
    before, config = files_of(finished), small(data_file)
    longer = replace(
        config, policy=replace(config.policy, steps=25), awr=replace(config.awr, steps=10)
    )
    with pytest.raises(RunError, match=rf"policy\.steps: 10 before, 25 now.*--from {finished}"):
        train(longer, finished)
    kept = refuse("critic", "behavior", "awr")
    result = train(longer, tmp_path / "new", source=finished, progress=kept)
    assert result["stages"]["policy"]["steps"] == 25
    assert files_of(finished) == before
    train(longer, tmp_path / "whole")
    for name in ("critic", "awr", "policy"):
        weights = Path(name) / "weights.safetensors"
        assert (tmp_path / "new" / weights).read_bytes() == (
            tmp_path / "whole" / weights
        ).read_bytes()
    # Again, it goes on in its own directory.
    train(longer, tmp_path / "new", source=tmp_path / "gone", progress=refuse("policy"))


def test_its_plan_has_what_is_left(data_file, finished, tmp_path):
    config = small(data_file)
    longer = replace(config, policy=replace(config.policy, steps=25))
    plan = rehearse(longer, tmp_path / "new", source=finished)
    left = {stage.name: stage.steps - stage.done for stage in plan.stages}
    assert {name for name, steps in left.items() if steps} == {"policy", "awr"}
    assert not (tmp_path / "new").exists()


def test_what_builds_on_a_changed_stage_is_trained_again(data_file, finished, tmp_path):
    config = small(data_file)
    longer = replace(config, critic=replace(config.critic, steps=40))
    trained = []
    result = train(
        longer,
        tmp_path / "new",
        source=finished,
        progress=lambda stage, step, *more: trained.append(stage) if step == 1 else None,
    )
    assert trained == ["critic", "awr", "policy"]
    assert result["stages"]["critic"]["steps"] == 40


def test_the_command(data_file, finished, tmp_path, capsys):
    words = ["train", "--from", str(finished), "--run-dir", str(tmp_path / "new"), "--trainer.cpu"]
    assert main([*words, "--policy.steps", "12", "--evaluation.episodes", "0"]) == 0
    assert "policy: 100%" in capsys.readouterr().err
    config = load_json(tmp_path / "new" / "config.json")
    assert (config["policy"]["steps"], config["critic"]["width"]) == (12, 16)
    words[words.index("--run-dir") + 1] = str(tmp_path / "other")
    for again in (["sweep", *words[1:]], ["train", *words[1:], "--seed", "3"]):
        assert main(again) == 2
        assert "--from" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_run_of_other_data_or_a_sweep_is_refused(data_file, finished, tmp_path):
    data = load_hdf5(data_file)
    other = replace(data, rewards=data.rewards + 1)
    with pytest.raises(RunError, match="other data"):
        train(small(data_file), tmp_path / "new", source=finished, data=other)
    sweep(small(data_file), tmp_path / "sweep", grid=SweepGrid((0,), (0.1,)), stages=["cloning"])
    with pytest.raises(RunError, match="holds a sweep, expected a run"):
        train(small(data_file), tmp_path / "new", source=tmp_path / "sweep")
    with pytest.raises(RunError, match="holds no run"):
        train(small(data_file), tmp_path / "new", source=tmp_path / "nowhere")
    assert not (tmp_path / "new").exists()
