"""Two processes do what one does."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from scoreregs_offline_rl import (
    EvaluationConfig,
    SweepGrid,
    TrainConfig,
    rehearse_sweep,
    sweep,
)
from scoreregs_offline_rl.commands.console import Bars
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs import division
from scoreregs_offline_rl.runs.configuration import usual_stages
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.training.interruption import InterruptedRun
from tests.offline_rl.several_processes import (
    GRID,
    INTERRUPTED,
    PLACES,
    begin_in_one_part,
    configuration,
    make_stages,
    signal_at,
    sweep_arguments,
    train_stages,
)
from tests.offline_rl.test_trainer import metrics_of

STAGES = usual_stages(TrainConfig.stages())
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32", reason="needs gloo"
)
ROOT = Path(__file__).parents[2]


def environment_for_children():
    paths = [str(ROOT), str(ROOT / "integrations"), os.environ.get("PYTHONPATH", "")]
    settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return os.environ | settings


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torchrun(port):
    address = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    return [sys.executable, "-m", "torch.distributed.run", *address]


def launched(*command):
    """Waits for a command that has to succeed, and returns what it printed."""
    child = subprocess.run(
        command,
        env=environment_for_children(),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return child.stdout


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    return path


@pytest.fixture(scope="module")
def swept(data_file, tmp_path_factory):
    """The sweep of one process."""
    run_dir = tmp_path_factory.mktemp("sweep")
    assert main([*sweep_arguments(str(data_file)), str(run_dir)]) == 0
    return run_dir


@pytest.fixture(scope="module")
def launch(data_file, swept, tmp_path_factory):
    """What two processes leave, some of which one has begun, and what they print."""
    out = tmp_path_factory.mktemp("two")
    train_stages(out / "begun by one", stop=50)
    with pytest.raises(InterruptedRun):
        train(
            configuration(str(data_file)),
            out / "run",
            stages=INTERRUPTED,
            progress=signal_at("critic", 10),
        )
    begin_in_one_part(RunDirectory(swept).read_config(), out / "few parts")
    script = str(Path(__file__).with_name("several_processes.py"))
    two, words = ["--nproc-per-node", "2", script], map(str, (data_file, out, swept))
    return out, launched(*torchrun(free_port()), *two, *words)


@pytest.fixture(scope="module")
def of_two(launch):
    """What two processes leave."""
    return launch[0]


@pytest.fixture(scope="module")
def of_one(tmp_path_factory):
    """What one process leaves."""
    out = tmp_path_factory.mktemp("one")
    train_stages(out)
    return out


@pytest.mark.parametrize("stage", list(make_stages()))
def test_weights_after_100_steps(of_one, of_two, stage):
    one = load_file(of_one / stage / "weights.safetensors")
    two = load_file(of_two / "stages" / stage / "weights.safetensors")
    initial = make_stages()[stage].state_dict()
    torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-9)
    assert any(not tensor.equal(initial[name].double()) for name, tensor in one.items())
    assert all(tensor.dtype == torch.float64 for tensor in one.values())


def test_compiled_weights_are_those_of_one_process(of_one, of_two):
    one = load_file(of_one / "critic/weights.safetensors")
    two = load_file(of_two / "compiled/critic/weights.safetensors")
    torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("stage", list(make_stages()))
def test_metrics_are_those_of_the_global_batch(of_one, of_two, stage):
    one, two = metrics_of(of_one / stage), metrics_of(of_two / "stages" / stage)
    assert len(one) == len(two) == 5
    for ours, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4)


@pytest.mark.parametrize("stage", list(make_stages()))
def test_another_number_of_processes_goes_on(of_one, of_two, stage):
    """From one to two, and from two to one, in the middle of a stage."""
    whole = load_file(of_one / stage / "weights.safetensors")
    begun = of_two / "begun" / stage
    assert [path.name for path in (begun / "checkpoints").iterdir()] == ["step-000000050"]
    assert not (begun / "weights.safetensors").exists()
    train_stages(of_two / "begun", [stage])
    for folder in (begun, of_two / "begun by one" / stage):
        resumed = load_file(folder / "weights.safetensors")
        torch.testing.assert_close(resumed, whole, rtol=1e-9, atol=1e-9)
        assert [line["step"] for line in metrics_of(folder)] == [20, 40, 60, 80, 100]


def test_processes_stop_at_one_step_in_every_stage_and_go_on(of_two, data_file, tmp_path):
    """The signal came to one of them at step 20; they agree every 50 steps. One ends the run."""
    run_dir, config = of_two / "run", configuration(str(data_file))
    stopped = {path.name: path.read_text() for path in run_dir.glob("*-stopped-*")}
    assert stopped == {f"{s}-stopped-{place}": f"{s} 50" for s in INTERRUPTED for place in (0, 1)}
    results = [train(config, folder, stages=INTERRUPTED) for folder in (run_dir, tmp_path)]
    assert set(results[0]["stages"]) == set(INTERRUPTED)
    for stage in INTERRUPTED:
        one, two = metrics_of(tmp_path / stage), metrics_of(run_dir / stage)
        assert [record["step"] for record in one] == [record["step"] for record in two]
        assert two[-1] == pytest.approx(one[-1], rel=1e-2, abs=1e-3)
    assert results[0]["health"].keys() == results[1]["health"].keys()


def test_a_full_disk_of_one_process_stops_both(of_two, data_file):
    """In every place where one writes and the others wait; nothing is lost."""
    run_dir = of_two / "full"
    said = [json.loads((run_dir / f"said-{place}.json").read_text()) for place in (0, 1)]
    assert said[0] == said[1]
    assert len(said[0]) == len(PLACES)
    assert all("No space left on device" in text for text in said[0])
    config = replace(configuration(str(data_file)), evaluation=EvaluationConfig(episodes=0))
    assert set(train(config, run_dir, stages=["critic"])["stages"]) == {"critic"}
    full, whole = metrics_of(run_dir / "critic"), metrics_of(of_two / "run/critic")
    assert [line["step"] for line in full] == [line["step"] for line in whole]
    assert full[-1] == pytest.approx(whole[-1], rel=1e-2, abs=1e-3)
    assert not list(run_dir.rglob("*partial*"))


def test_two_machines(data_file, tmp_path):
    """Two launches that share a folder; each process is the first of its machine."""
    arguments = [
        "train",
        "--preset",
        "paper",
        "--data",
        str(data_file),
        "--beta",
        "0.1",
        "--trainer.cpu",
    ]
    for stage in ("critic", "behavior", "policy"):
        arguments += [f"--{stage}.steps=4", f"--{stage}.batch-size=32", f"--{stage}.width=16"]
    arguments += ["--trainer.log-every=2", "--evaluation.episodes=1", "--run-dir"]
    launcher = [*torchrun(free_port()), "--nnodes", "2", "--node-rank"]
    machines = [
        subprocess.Popen(
            [*launcher, rank, "-m", "scoreregs_offline_rl", *arguments, str(tmp_path / "two")],
            env=environment_for_children(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    outputs = [machine.communicate(timeout=600) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    # Bars, results and files come from one of them.
    assert ["everything in" in printed for printed, _ in outputs] == [True, False]
    assert ["100%" in bars for _, bars in outputs] == [True, False]
    assert main([*arguments, str(tmp_path / "one")]) == 0
    for stage in STAGES:
        one, two = (tmp_path / run / stage for run in ("one", "two"))
        assert [line["step"] for line in metrics_of(two)] == [2, 4]
        weights = [load_file(folder / "weights.safetensors") for folder in (two, one)]
        torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-4)


def test_a_batch_that_does_not_divide_is_refused():
    from scoreregs_offline_rl.randoms import process_slice

    with pytest.raises(RunError, match="batch size of 255 for 2 processes"):
        process_slice(255, 0, 2)


def test_processes_that_do_not_see_each_other_are_refused(data_file, tmp_path, monkeypatch):
    """torchrun on a machine without GPUs and without --trainer.cpu."""
    Accelerator(cpu=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match=r"got 2 processes, of which Accelerate sees 1: .*cpu"):
        train(configuration(str(data_file)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_launch_that_starts_one_process_for_several_is_refused(data_file, tmp_path, monkeypatch):
    """As `accelerate launch --cpu --num_processes 2` does without an MPI host file."""
    Accelerator(cpu=True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(RunError, match=r"accelerate launch --cpu.*starts one"):
        train(configuration(str(data_file)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_accelerate_launch_drives_two_processes(data_file, tmp_path, monkeypatch):
    """Stages, checkpoints, and roll-outs while training, of a run that one process has begun."""
    launch = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--main_process_port", str(free_port()), "--module", "scoreregs_offline_rl"]
    arguments = ["train", "--preset", "paper", "--data", str(data_file), "--beta", "0.1"]
    arguments += ["--trainer.cpu", "--trainer.log-every=2", "--trainer.checkpoint-every=2"]
    arguments += ["--evaluation.episodes=1", "--evaluation.every=2"]
    for stage in ("critic", "behavior", "policy"):
        arguments += [f"--{stage}.steps=4", f"--{stage}.batch-size=32", f"--{stage}.width=16"]
    with monkeypatch.context() as patch:
        stop = signal_at("critic", 2)
        patch.setattr(Bars, "__call__", lambda self, *told: stop(*told))
        assert main([*arguments, "--run-dir", str(tmp_path / "two")]) == 128 + signal.SIGTERM
    assert [line["step"] for line in metrics_of(tmp_path / "two/critic")] == [2]
    launched(sys.executable, "-m", *launch, *arguments, "--run-dir", str(tmp_path / "two"))
    assert [line["step"] for line in metrics_of(tmp_path / "two/critic")] == [2, 4]
    assert main([*arguments, "--run-dir", str(tmp_path / "one")]) == 0
    for stage in STAGES:
        kept = sorted(path.name for path in (tmp_path / "two" / stage / "checkpoints").iterdir())
        assert kept[-1] == "step-000000004"
        weights = [load_file(tmp_path / r / stage / "weights.safetensors") for r in ("two", "one")]
        torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-4)
    lines = metrics_of(tmp_path / "two" / "policy")
    assert [line["step"] for line in lines] == [2, 4]
    assert all("return" in " ".join(line) or "score" in line for line in lines)


def test_accelerate_launch(tmp_path):
    """The module is what launchers start."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    arguments = [
        "train",
        "--preset",
        "paper",
        "--data",
        "nowhere.hdf5",
        "--run-dir",
        str(tmp_path / "run"),
    ]
    child = subprocess.run(
        [*command, "--module", "scoreregs_offline_rl", *arguments],
        env=environment_for_children(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert child.returncode != 0
    assert "error: nowhere.hdf5: got no such file" in child.stderr


def assert_same_sweep(one, two):
    assert not (two / "parts").exists()
    for stage in INTERRUPTED:
        weights = [(folder / stage / "weights.safetensors").read_bytes() for folder in (one, two)]
        assert weights[0] == weights[1]
        assert metrics_of(one / stage) == metrics_of(two / stage)
        assert list(metrics_of(one / stage)[0]) == list(metrics_of(two / stage)[0])
    members, others = (json.loads((d / "result.json").read_text())["members"] for d in (one, two))
    assert members == others


def test_a_sweep_is_divided_by_seeds(launch, swept):
    """Four seeds in two processes leave what they leave in one, to the bit."""
    out, printed = launch
    assert_same_sweep(swept, out / "sweep")
    # One of them reports.
    assert printed.count("each member in") == 1


def test_a_divided_sweep_goes_on(of_two, swept, data_file):
    """Stopped twice, in other stages by each process, then by one process: equal to the bit."""
    run_dir, arguments = of_two / "stopped", sweep_arguments(str(data_file))
    parts = sorted(path.name for path in (run_dir / "parts").iterdir())
    assert parts == ["1-of-2", "2-of-2"]
    begun = [
        sorted(path.parent.name for path in (run_dir / "parts" / part).glob("*/checkpoints"))
        for part in parts
    ]
    assert begun == [["behavior", "critic"], ["behavior", "policy"]]
    with pytest.raises(RunError, match=r"got other members than those .*2-of-2 \(seeds"):
        division.check_members(RunDirectory(run_dir), SweepGrid((0, 1, 2, 5), (0.1, 0.5)))
    with pytest.raises(RunError, match=r"got other members than those .*2-of-2 \(betas"):
        division.check_members(RunDirectory(run_dir), SweepGrid((0, 1, 2, 3), (0.1, 0.2)))
    assert main([*arguments, str(run_dir)]) == 0
    assert_same_sweep(swept, run_dir)


def test_a_divided_sweep_goes_on_with_more_processes_than_parts(of_two, swept):
    """A process without a part waits for the others."""
    assert_same_sweep(swept, of_two / "few parts")


def test_a_divided_sweep_is_planned_by_its_parts_and_tidied_after_a_kill(
    swept, tmp_path, monkeypatch
):
    config, arguments = RunDirectory(swept).read_config(), {"grid": GRID, "stages": INTERRUPTED}
    for part in ("1-of-2", "2-of-2"):
        (tmp_path / "parts" / part / "critic").mkdir(parents=True)
    with pytest.raises(InterruptedRun):
        sweep(config, tmp_path, **arguments, progress=signal_at("behavior", 4))
    # One of two parts has all nine steps of the critic and four of the behavior model.
    plan = rehearse_sweep(config, tmp_path, **arguments)
    assert [(stage.name, stage.done) for stage in plan.stages] == [
        ("critic", 4),
        ("behavior", 2),
        ("policy", 0),
    ]

    class KilledError(Exception):
        pass

    def die(folder):
        raise KilledError

    monkeypatch.setattr(division, "shutil", SimpleNamespace(rmtree=die))
    with pytest.raises(KilledError):
        sweep(config, tmp_path, **arguments)
    assert (tmp_path / "parts").exists()
    monkeypatch.undo()
    sweep(config, tmp_path, **arguments, progress=no_step)
    assert_same_sweep(swept, tmp_path)


def no_step(stage, step, steps, metrics):
    raise AssertionError(f"the {stage} stage was trained again")


def test_parts_with_a_stage_that_is_not_put_together_stay(swept, tmp_path):
    """As of a command with more stages, which was stopped."""
    run_dir = Path(shutil.copytree(swept, tmp_path / "sweep"))
    directory, accelerator = RunDirectory(run_dir), Accelerator(cpu=True)
    for stage in ("critic", "awr"):
        (run_dir / "parts/1-of-2" / stage).mkdir(parents=True)
    division.remove_parts(directory, accelerator)
    assert (run_dir / "parts/1-of-2/awr").exists()
    (run_dir / "parts/1-of-2/awr").rmdir()
    division.remove_parts(directory, accelerator)
    assert not (run_dir / "parts").exists()


def test_parts_that_cannot_be_had(tmp_path):
    directory, grid = RunDirectory(tmp_path), SweepGrid((0, 1, 2), (0.1,))
    assert [own.seeds for own in division._parts(directory, grid, (), 2).values()] == [(0, 1), (2,)]
    with pytest.raises(RunError, match="got 3 seeds for a sweep in 4 parts"):
        division._parts(directory, grid, (), 4)
    (tmp_path / "critic/checkpoints").mkdir(parents=True)
    with pytest.raises(RunError, match="whose critic stage one process has begun"):
        division._parts(directory, grid, ("critic",), 2)
    (tmp_path / "parts/1-of-3").mkdir(parents=True)
    assert division.is_divided(directory)
    assert len(division._parts(directory, grid, (), 2)) == 3
