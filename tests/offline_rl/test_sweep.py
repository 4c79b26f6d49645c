"""A sweep: each member is what it is alone; interrupted, resumed, evaluated and reported."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import (
    BehaviorConfig,
    CloningConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    SweepGrid,
    SweepTable,
    TrainConfig,
    TrainedPolicy,
    TrainerConfig,
    compare_runs,
    draw_sweep,
    evaluate,
    sweep,
)
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.commands.sweep import _report
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.pipeline import Pipeline
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.runs.scaled import ScaledData
from scoreregs_offline_rl.training.interruption import InterruptedRun
from scoreregs_offline_rl.training.trainer import Trainer
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions
from tests.offline_rl.several_processes import in_double

GRID = SweepGrid(seeds=(0, 3), betas=(0.1, 0.5))
STAGES = ("critic", "behavior", "policy")


def configuration(data="made", **changes):
    config = TrainConfig(
        data=data,
        beta=0.1,
        critic=CriticConfig(steps=30, batch_size=32, width=16, decay=True),
        behavior=BehaviorConfig(steps=25, batch_size=32, width=16),
        policy=PolicyConfig(steps=20, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=3, seed=5),
        trainer=TrainerConfig(log_every=10, checkpoint_every=10, cpu=True),
    )
    return dataclasses.replace(config, **changes)


def pipeline_parts(config, seed):
    accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    data = ScaledData(
        in_double(make_transitions(rows=80)),
        ObservationScaling.identity(OBSERVATION),
        ActionScaling(-torch.ones(ACTION), torch.ones(ACTION)),
    )
    return data, Trainer(accelerator, config.trainer, seed=seed)


@pytest.mark.parametrize(
    "policy", [{}, {"normalize": "rms", "beta_on": "value", "draws": 3, "points": "stratified"}]
)
def test_a_member_equals_training_it_alone(tmp_path, policy):
    config = configuration(
        critic=CriticConfig(steps=100, width=16, batch_size=16),
        behavior=BehaviorConfig(steps=100, width=16, batch_size=24, dropout=0.25),
        policy=PolicyConfig(steps=100, width=16, batch_size=16, **policy),
    )
    torch.set_default_dtype(torch.float64)
    try:
        data, trainer = pipeline_parts(config, 0)
        sweep_dir = RunDirectory(tmp_path / "sweep")
        found = Pipeline(config, data, trainer, sweep_dir, GRID).run(STAGES)
        for index, its in enumerate(GRID.configs(config)):
            data, trainer = pipeline_parts(its, its.seed)
            folder = tmp_path / GRID.labels[index]
            alone = Pipeline(its, data, trainer, RunDirectory(folder)).run(STAGES).members[0]
            states = {
                stage: load_tensors(folder / stage / "weights.safetensors") for stage in STAGES
            }
            for stage, state in states.items():
                stacked = load_tensors(tmp_path / "sweep" / stage / "weights.safetensors")
                member = index if stage == "policy" else index // 2
                for name, value in state.items():
                    assert value.dtype == torch.float64
                    torch.testing.assert_close(stacked[name][member], value, rtol=0, atol=1e-9)
            for stage, finding in alone.findings.items():
                assert found.members[index].findings[stage].measured == pytest.approx(
                    finding.measured
                )
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def finished(data_file, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("sweeps") / "small"
    return run_dir, sweep(configuration(str(data_file)), run_dir, grid=GRID, command="sweep it")


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    from scoreregs_offline_rl.data.hdf5 import save_hdf5
    from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup

    path = tmp_path_factory.mktemp("data") / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    return path


def test_what_a_sweep_leaves(finished):
    run_dir, table = finished
    assert table.kind == "score"
    assert table.values.shape == table.outside.shape == (2, 2)
    assert len(np.unique(table.values)) == 4
    assert table.best in GRID.betas
    assert "seed 3" in table.table()
    assert table.curves["q"].shape == (2, 2, 2)
    result = load_json(run_dir / "result.json")
    assert result["command"] == "sweep it"
    assert set(result["members"]) == set(GRID.labels)


def test_a_member_is_evaluated_as_alone(finished):
    run_dir, table = finished
    for index, label in enumerate(GRID.labels):
        agent = TrainedPolicy.load(run_dir / "members" / label / "agent")
        alone = evaluate(agent, "Pendulum-v1", episodes=3, seed=5)
        # Batched products round in another way, and episodes carry that on.
        assert table.values.flatten()[index] == pytest.approx(alone.normalized_score, abs=0.1)


def test_a_member_in_single_precision_is_near_training_it_alone(data_file, finished, tmp_path):
    run_dir, _ = finished
    config = configuration(str(data_file), seed=3, beta=0.5)
    train(config, tmp_path / "alone", stages=STAGES)
    ours = TrainedPolicy.load(run_dir / "members" / GRID.labels[3] / "agent").policy.state_dict()
    its = TrainedPolicy.load(tmp_path / "alone" / "agent").policy.state_dict()
    for name, value in its.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-4)


def test_members_are_compared_like_runs(finished):
    run_dir, _ = finished
    comparison = compare_runs([run_dir / "members" / label for label in GRID.labels])
    assert sorted(comparison.runs) == ["swing (beta 0.1)", "swing (beta 0.5)"]
    assert all(len(runs) == 2 for runs in comparison.runs.values())


def stop_at(stage, step):
    def progress(running, done, steps, metrics):
        if (running, done) == (stage, step):
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


def test_interrupted_in_each_stage_it_ends_as_if_it_had_not(data_file, finished, tmp_path):
    whole, table = finished
    run_dir = tmp_path / "interrupted"

    for stage, step in (("critic", 7), ("behavior", 13), ("policy", 19)):
        with pytest.raises(InterruptedRun):
            sweep(configuration(str(data_file)), run_dir, grid=GRID, progress=stop_at(stage, step))
    again = sweep(configuration(str(data_file)), run_dir, grid=GRID)
    np.testing.assert_array_equal(again.values, table.values)
    for stage in STAGES:
        ours = load_tensors(run_dir / stage / "weights.safetensors")
        its = load_tensors(whole / stage / "weights.safetensors")
        assert all(torch.equal(ours[name], value) for name, value in its.items())
        lines = [(d / stage / "metrics.jsonl").read_text().splitlines() for d in (run_dir, whole)]
        ours, its = ([json.loads(line) for line in found] for found in lines)
        assert [{**line, "seconds": 0} for line in ours] == [{**line, "seconds": 0} for line in its]


def test_a_second_call_trains_nothing_and_evaluates_what_is_asked(data_file, finished, tmp_path):
    run_dir, table = finished

    def nothing(*step):
        raise RuntimeError("a step was taken")

    again = sweep(configuration(str(data_file)), run_dir, grid=GRID, progress=nothing)
    np.testing.assert_array_equal(again.values, table.values)
    config = configuration(str(data_file), evaluation=EvaluationConfig(episodes=2, seed=9))
    other = sweep(config, run_dir, grid=GRID, progress=nothing)
    assert not np.array_equal(other.values, table.values)
    restored = sweep(configuration(str(data_file)), run_dir, grid=GRID, progress=nothing)
    np.testing.assert_array_equal(restored.values, table.values)


def test_policies_are_evaluated_while_they_train(data_file, finished, tmp_path):
    evaluation = EvaluationConfig(episodes=3, seed=5, every=10)
    config = configuration(str(data_file), evaluation=evaluation)
    with pytest.raises(InterruptedRun):
        sweep(config, tmp_path / "all", grid=GRID, progress=stop_at("policy", 15))
    table = sweep(config, tmp_path / "all", grid=GRID)
    assert table.curves["evaluated_step"].tolist() == [10, 20]
    first, last = table.curves["score"]
    np.testing.assert_array_equal(last, table.values)
    assert (first != last).any()
    # To look at a policy changes nothing.
    np.testing.assert_array_equal(table.values, finished[1].values)
    assert "score" not in finished[1].curves

    train(dataclasses.replace(config, seed=3, beta=0.5), tmp_path / "alone", stages=STAGES)
    lines = (tmp_path / "alone" / "policy" / "metrics.jsonl").read_text().splitlines()
    alone = [json.loads(line)["score"] for line in lines]
    assert alone == pytest.approx([first[1, 1], last[1, 1]], abs=0.1)
    result = load_json(tmp_path / "alone" / "result.json")
    assert alone[1] == pytest.approx(result["normalized_score"], abs=0.1)


def test_without_an_environment_the_policy_check_is_what_is_compared(tmp_path):
    data = make_transitions(rows=80)
    config = configuration(evaluation=EvaluationConfig(episodes=0))
    table = sweep(config, tmp_path, grid=SweepGrid(seeds=(0,), betas=(0.1, 5.0)), data=data)
    assert table.kind == "outside"
    assert table.data is None
    assert table.best in (0.1, 5.0)
    assert "support" in table.table()


def test_policies_without_a_temperature_have_a_number_for_each_seed(tmp_path, capsys):
    config = configuration(cloning=CloningConfig(steps=4, batch_size=32))
    grid = SweepGrid(seeds=(0, 1), betas=(0.1, 5.0))
    table = sweep(config, tmp_path, grid=grid, stages=("cloning",), data=make_transitions(rows=80))
    assert table.best is None
    lines = table.table().splitlines()
    assert lines[2:] == ["| any | - | - | - | - |", "", lines[-1]]
    assert "no environment is known" in lines[-1]
    draw_sweep(table, tmp_path / "sweep.png")
    _report(table, tmp_path)
    printed = capsys.readouterr().out
    assert "temperature to take" not in printed
    assert "nan" not in printed


def test_temperatures_that_print_alike_are_told_apart():
    betas = (0.1, 0.1 + 1e-9)
    assert SweepGrid((0,), betas).labels == ("seed-0_beta-0.1", "seed-0_beta-0.100000001")
    assert SweepGrid((0,), (0.1, 1 / 3)).labels == ("seed-0_beta-0.1", "seed-0_beta-0.333333")


class TestRefusals:
    def test_evaluations_between_the_lines_of_the_log(self):
        with pytest.raises(ArgumentError, match=r"evaluation\.every = 15.*multiple of.*10"):
            configuration(evaluation=EvaluationConfig(every=15))

    @pytest.mark.parametrize(
        ("seeds", "betas"), [((), (1.0,)), ((0, 0), (1.0,)), ((0,), (0.0,)), ((0,), (1.0, 1.0))]
    )
    def test_grids(self, seeds, betas):
        with pytest.raises(ArgumentError, match="expected"):
            SweepGrid(seeds=seeds, betas=betas)

    def test_other_members(self, data_file, finished):
        with pytest.raises(RunError, match="seeds"):
            sweep(configuration(str(data_file)), finished[0], grid=SweepGrid((1,), (0.1,)))

    def test_other_settings(self, data_file, finished):
        config = configuration(str(data_file), critic=CriticConfig(steps=31, width=16))
        with pytest.raises(RunError, match=r"critic\.steps"):
            sweep(config, finished[0], grid=GRID)

    def test_given_weights_that_are_none(self, data_file, tmp_path):
        config = configuration(str(data_file), critic=CriticConfig(weights=str(tmp_path)))
        with pytest.raises(RunError, match="a directory without a finished critic"):
            sweep(config, tmp_path / "sweep", grid=GRID)

    def test_a_directory_of_a_run(self, data_file, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(RunError, match="holds a run"):
            sweep(configuration(str(data_file)), tmp_path, grid=GRID)

    def test_an_unfinished_sweep_has_no_table(self, tmp_path):
        with pytest.raises(RunError, match="no finished sweep"):
            SweepTable.load(tmp_path)


def test_without_a_simulator_the_prior_chooses_the_temperature():
    grid, none = SweepGrid(seeds=(0, 1, 2), betas=(0.03, 0.1, 0.3)), np.zeros((3, 3))
    excess = np.array([[0.0, 0.005, 0.3], [0.005, 0.03, 0.2], [0.0, 0.005, 0.005]])
    table = SweepTable(grid, "outside", none, none, None, {}, excess=excess)
    assert table.best == 0.1
    assert dataclasses.replace(table, excess=None).best == 0.3
    # Of a member that was lost there is none.
    excess[2, 2] = np.nan
    assert dataclasses.replace(table, excess=excess).best == 0.1
    assert dataclasses.replace(table, excess=np.full((3, 3), np.nan)).best == 0.3


def test_command_line(data_file, tmp_path, capsys):
    sizes = [
        f"--{s}.{n}"
        for s in ("critic", "behavior", "cloning", "awr", "policy")
        for n in ("steps", "width")
    ]
    arguments = ["sweep", "--data", str(data_file), "--run-dir", str(tmp_path / "run")]
    arguments += ["--seeds", "0", "1", "--betas", "0.1", "0.2", "--evaluation.episodes", "1"]
    arguments += ["--behavior.batch-size", "64", "--trainer.cpu"]
    arguments += [word for name in sizes for word in (name, "8")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| 0.2 |" in printed
    assert (tmp_path / "run" / "sweep.png").stat().st_size > 10_000
    assert main([*arguments, "--betas", "0"]) == 2
