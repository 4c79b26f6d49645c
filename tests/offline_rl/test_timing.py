"""What a run says that it will do, and steps that follow from a time."""

import json
import random
import re
import shutil
from dataclasses import replace
from datetime import datetime

import pytest
import torch

from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    Plan,
    PolicyConfig,
    RunError,
    SweepGrid,
    TrainConfig,
    TrainerConfig,
    compare_runs,
    rehearse,
    rehearse_sweep,
    sweep,
    train,
)
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.data.hdf5 import load_hdf5, save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.runs import timing
from scoreregs_offline_rl.runs.plan import duration
from scoreregs_offline_rl.runs.timing import MOST_TIMES, within_minutes
from scoreregs_offline_rl.training.rehearsal import StageTiming

STEPS = {"critic": 30, "behavior": 20, "awr": 10, "policy": 10}
WEIGHTS = [f"{name}/weights.safetensors" for name in STEPS]


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    return path


@pytest.fixture(scope="module")
def data(data_file):
    return load_hdf5(data_file)


def small(data_file, **changes):
    config = TrainConfig(
        data=str(data_file),
        beta=0.1,
        critic=CriticConfig(steps=30, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=20, batch_size=64, width=16),
        policy=PolicyConfig(steps=10, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=10, checkpoint_every=10, cpu=True),
    )
    return replace(config, **changes)


def plan_of(seconds, **more):
    """Stages that each take so long."""
    stages = [StageTiming(n, 1000, 0, 32, its / 1000) for n, its in seconds.items()]
    return Plan(tuple(stages), **more)


def test_measuring_changes_no_bit_of_the_training(data_file, tmp_path):
    """Weights, metrics and the global generators are those of a run that was not measured."""
    config, plans = small(data_file), []
    train(config, tmp_path / "plain")
    states = torch.get_rng_state(), random.getstate()
    rehearse(config, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    train(config, tmp_path / "told", plan=plans.append)
    for name in WEIGHTS:
        assert (tmp_path / "told" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert {stage.name: stage.steps for stage in plans[0].stages} == STEPS
    assert {stage.name: stage.rows for stage in plans[0].stages} == {
        "critic": 32,
        "behavior": 64,
        "awr": 256,
        "policy": 32,
    }
    assert all(0 < stage.step_seconds < 1 for stage in plans[0].stages)


def test_what_is_finished_or_begun_is_not_counted(data_file, tmp_path):
    config, run_dir = small(data_file), tmp_path / "run"
    train(config, run_dir, stages=["critic"])
    assert [(s.done, s.seconds) for s in rehearse(config, run_dir, stages=["critic"]).stages] == [
        (30, 0.0)
    ]
    (run_dir / "critic" / "report.json").unlink()
    shutil.rmtree(run_dir / "critic" / "checkpoints" / "step-000000030", ignore_errors=True)
    (begun,) = rehearse(config, run_dir, stages=["critic"]).stages
    assert begun.done == 20
    assert begun.seconds == pytest.approx(10 * begun.step_seconds)
    taken = replace(config, critic=replace(config.critic, weights=str(run_dir)))
    assert rehearse(taken, tmp_path / "new").stages[0].done == 30


def test_a_sweep_has_a_plan_for_all_members(data_file, data, tmp_path):
    plans = []
    grid = SweepGrid(seeds=(0, 1), betas=(0.1, 0.2))
    sweep(small(data_file), tmp_path / "sweep", grid=grid, data=data, plan=plans.append)
    rows = {stage.name: stage.rows for stage in plans[0].stages}
    assert rows == {"critic": 64, "behavior": 128, "policy": 128}
    again = rehearse_sweep(small(data_file), tmp_path / "none", grid=grid, data=data)
    assert {stage.name: stage.rows for stage in again.stages} == rows
    assert not (tmp_path / "none").exists()
    # What is finished has nothing to tell.
    sweep(small(data_file), tmp_path / "sweep", grid=grid, data=data, plan=plans.append)
    assert len(plans) == 1


def test_the_steps_of_a_time_are_kept(data_file, data, tmp_path, monkeypatch):
    """They are in the configuration, and the same arguments go on with them, unmeasured."""
    measured = plan_of({"critic": 100.0, "behavior": 200.0, "policy": 50.0, "awr": 50.0})
    monkeypatch.setattr(timing, "measure", lambda *_, **__: measured)
    stages = {n: replace(getattr(small(data_file), n), steps=1000) for n in STEPS}
    config, run_dir = small(data_file, minutes=1.0, **stages), tmp_path / "run"
    with pytest.raises(RuntimeError, match="stop"):
        train(config, run_dir, data=data, progress=stop_at(15))
    chosen = {n: load_json(run_dir / "config.json")[n]["steps"] for n in STEPS}
    # 51 of 60 seconds are for steps, of 400 seconds, and loading takes some of them.
    assert all(100 < steps <= 127 for steps in chosen.values())
    assert len(set(chosen.values())) == 1
    monkeypatch.setattr(timing, "measure", None)
    result = train(config, run_dir, data=data)
    assert {n: result["stages"][n]["steps"] for n in chosen} == chosen
    plain = replace(
        config, minutes=None, **{n: replace(s, steps=chosen[n]) for n, s in stages.items()}
    )
    train(plain, tmp_path / "plain", data=data)
    for name in WEIGHTS:
        assert (run_dir / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    with pytest.raises(RunError, match=r"minutes: 1\.0 before, None now"):
        train(plain, run_dir, data=data)


def stop_at(at):
    def progress(stage, step, steps, metrics):
        if step == at:
            raise RuntimeError("stop")

    return progress


@pytest.mark.parametrize(
    ("minutes", "factor"), [(100.0, MOST_TIMES), (10.0, 0.85 * 600 / 400), (2.0, 0.85 * 120 / 400)]
)
def test_all_steps_change_by_one_factor(data_file, minutes, factor):
    stages = {n: replace(getattr(small(data_file), n), steps=1000) for n in STEPS}
    config = small(data_file, minutes=minutes, **stages)
    plan = plan_of({"critic": 100.0, "behavior": 200.0, "policy": 50.0, "awr": 50.0})
    found = within_minutes(config, plan, 0.0)
    for name in STEPS:
        assert getattr(found, name).steps == int(factor * 1000)
    assert found.td3_bc == config.td3_bc
    assert plan.with_steps(dict.fromkeys(STEPS, 500)).seconds == pytest.approx(200.0)


def test_too_few_minutes_are_refused_with_those_that_do(data_file):
    stages = {n: replace(getattr(small(data_file), n), steps=100_000) for n in STEPS}
    plan = Plan((StageTiming("critic", 100_000, 0, 32, 0.01),), evaluation=60.0)
    config = small(data_file, minutes=1.0, **stages)
    with pytest.raises(RunError, match=r"minutes 1, expected at least (\d+\.\d)") as caught:
        within_minutes(config, plan, 30.0)
    least = float(re.findall(r"at least (\d+\.\d)", str(caught.value))[0])
    enough = within_minutes(replace(config, minutes=least), plan, 30.0)
    assert 500 <= enough.critic.steps < 1500
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="minutes"):
            small(data_file, minutes=wrong)


def longer(config):
    return replace(config, critic=replace(config.critic, steps=20 + config.seed))


def test_seeds_of_one_time_are_compared_with_each_other(data_file, data, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "measure", lambda *_, **__: plan_of({}))
    monkeypatch.setattr(timing, "within_minutes", lambda config, *_: longer(config))
    for seed in (0, 1):
        config = small(data_file, minutes=1.0, seed=seed, evaluation=EvaluationConfig(episodes=1))
        train(config, tmp_path / str(seed), data=data)
    assert list(compare_runs([tmp_path / "0", tmp_path / "1"]).runs) == ["swing"]


def test_checks_follow_seldom_however_often_there_is_a_line(data_file, data, tmp_path):
    config = small(data_file, critic=CriticConfig(steps=700, batch_size=32, width=8))
    weights = []
    for every in (20, 350):
        trainer = replace(config.trainer, log_every=every, checkpoint_every=1000)
        run_dir = tmp_path / str(every)
        train(replace(config, trainer=trainer), run_dir, stages=["critic"], data=data)
        lines = (run_dir / "critic" / "metrics.jsonl").read_text().splitlines()
        checked = [json.loads(line)["step"] for line in lines if "health_measured" in line]
        # A check of 512 rows is a twentieth of 320 steps of 32.
        assert checked == ([320, 640, 700] if every == 20 else [350, 700])
        weights.append((run_dir / WEIGHTS[0]).read_bytes())
    assert weights[0] == weights[1]


def test_dry_run_prints_and_writes_nothing(data_file, tmp_path, capsys):
    command = [
        "train",
        "--preset",
        "paper",
        "--data",
        str(data_file),
        "--run-dir",
        str(tmp_path / "r"),
        "--beta",
        "1",
    ]
    assert main([*command, "--dry-run", "--behavior.batch-size", "64", "--trainer.cpu"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\| behavior +\| 2000000 \| +64 \| +[\d.]+ ms \| ", out)
    assert re.search(r"^critic .*, behavior .*; finished about \d\d", out, re.MULTILINE)
    assert not (tmp_path / "r").exists()


def test_the_bar_shows_the_stage_and_the_whole(data_file, tmp_path, capsys):
    sizes = ["--critic.steps", "30", "--behavior.steps", "5", "--policy.steps", "5"]
    command = [
        "train",
        "--preset",
        "paper",
        "--data",
        str(data_file),
        "--run-dir",
        str(tmp_path / "r"),
        "--beta",
        "1",
    ]
    more = ["--behavior.batch-size", "64", "--evaluation.episodes", "0", "--trainer.cpu"]
    assert main([*command, *sizes, *more]) == 0
    captured = capsys.readouterr()
    assert "finished about" in captured.out
    assert re.search(r"critic: 100%.*whole=\d+%, ends=\d\d:\d\d", captured.err)
    assert re.search(r"policy: 100%.*whole=100%", captured.err)


def test_how_much_of_the_plan_is_done():
    stages = (StageTiming("critic", 100, 50, 32, 1.0), StageTiming("policy", 10, 0, 32, 5.0))
    plan = Plan(stages, evaluation=10.0)
    assert plan.seconds == 110
    assert plan.done("critic", 50) == 0
    assert plan.done("critic", 60) == 10
    assert plan.done("policy", 2) == 60
    assert plan.line(datetime(2026, 1, 1, 23, 59)).endswith("finished about 2026-01-02 00:00")
    assert duration(99.6) == "2 min"
