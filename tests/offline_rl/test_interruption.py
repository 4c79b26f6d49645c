"""Signals: SIGINT and SIGTERM save, SIGKILL loses nothing but time."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import torch

from scoreregs_offline_rl import STAGES, TrainConfig
from scoreregs_offline_rl.commands.console import Bars
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.runs.configuration import usual_stages
from scoreregs_offline_rl.training.interruption import InterruptedRun, watch_signals
from tests.offline_rl.test_trainer import assert_same_outcome, metrics_of, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
USUAL = usual_stages(TrainConfig.stages())
# Before the first checkpoint, in the middle of it, beside it, later, and at the end of a stage.
KILLS = [("step", 3), ("access", 8), ("access", 12), ("step", 17), ("file", ".weights.")]


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    return path


@pytest.fixture(autouse=True)
def usual_handlers():
    """Those of a process in the foreground, wherever the tests run."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number, at):
    """A progress that sends a signal to this process after a step."""

    def progress(stage, step, steps, metrics):
        if step == at:
            os.kill(os.getpid(), number)

    return progress


def trained_apart(data_file, run_dir, plan):
    """Returns how the children of `killable.py` ended: whatever tests ran before, it is fresh."""
    child = subprocess.run(
        [
            *(sys.executable, str(Path(__file__).with_name("killable.py"))),
            *(str(data_file), str(run_dir), json.dumps(plan)),
        ],
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(data_file, tmp_path):
    plan = [[stage, kind, moment] for stage in USUAL for kind, moment in KILLS]
    ends = trained_apart(data_file, tmp_path / "killed", plan)
    # Every child before the end was killed, and several of them before the stage was finished.
    killed = Counter(stage for stage, was_killed, finished in ends if was_killed)
    within = Counter(stage for stage, was_killed, finished in ends if stage not in finished)
    assert all(killed[stage] == len(KILLS) for stage in USUAL), ends
    assert all(within[stage] == len(KILLS) for stage in USUAL), ends

    assert trained_apart(data_file, tmp_path / "whole", []) == []
    for stage in USUAL:
        assert_same_outcome(tmp_path / "killed" / stage, tmp_path / "whole" / stage)
    assert not list((tmp_path / "killed").rglob("*partial*"))
    results = [
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("killed", "whole")
    ]
    for name in ("policy", "awr", "health", "beta"):
        assert results[0][name] == results[1][name]


def test_a_checkpoint_that_has_its_name_is_whole(tmp_path):
    """Whatever moment a kill picks: looked at before every access to a file."""
    run(tmp_path / "first", checkpoint_every=2)
    newest = sorted((tmp_path / "first/checkpoints").iterdir())[-1]
    whole = {path.name: path.stat().st_size for path in newest.iterdir()}
    whole = {name: size for name, size in whole.items() if name != "trainer.json"}
    folder, seen, watching = tmp_path / "second/checkpoints", [], True

    def look(event, arguments):
        nonlocal watching
        if not watching or not event.startswith(("open", "os.", "shutil.", "pathlib.")):
            return
        watching = False
        for checkpoint in folder.glob("step-*") if folder.exists() else ():
            if checkpoint.suffix != ".partial":
                found = {path.name: path.stat().st_size for path in checkpoint.iterdir()}
                found.pop("trainer.json", None)
                seen.append((checkpoint.name, found))
        watching = True

    sys.addaudithook(look)
    try:
        run(tmp_path / "second", checkpoint_every=2)
    finally:
        watching = False
    assert len({name for name, found in seen}) == 6
    assert [name for name, found in seen if found != whole] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_saves_the_step_that_it_comes_in(tmp_path, stage, number):
    run(tmp_path / "whole", stage)
    before = signal.getsignal(number)
    with pytest.raises(InterruptedRun) as caught:
        run(tmp_path / "cut", stage, send(number, 7))
    assert (caught.value.step, caught.value.steps, caught.value.stage) == (8, 13, stage)
    assert caught.value.signal_number == number
    assert "step 8 of 13: the same command goes on from there" in str(caught.value)
    assert signal.getsignal(number) is before
    resumed = []
    run(tmp_path / "cut", stage, lambda name, step, steps, metrics: resumed.append(step))
    assert resumed == [9, 10, 11, 12, 13]
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")
    assert len({record["step"] for record in metrics_of(tmp_path / "cut")}) == 4


def test_a_signal_in_the_last_step_is_not_forgotten(tmp_path):
    run(tmp_path / "whole")
    with pytest.raises(InterruptedRun) as caught:
        run(tmp_path / "cut", progress=send(signal.SIGTERM, 13))
    assert caught.value.step == 13
    assert (tmp_path / "cut/report.json").exists()
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")


def test_a_signal_beside_a_checkpoint(tmp_path):
    """Steps 5 and 10 are saved anyway; a signal there saves them once."""
    with pytest.raises(InterruptedRun) as caught:
        run(tmp_path, progress=send(signal.SIGTERM, 9))
    assert caught.value.step == 10
    assert (tmp_path / "checkpoints/step-000000010/trainer.json").exists()


def test_no_loop_over_runs_takes_an_interruption_for_a_failure(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=send(signal.SIGTERM, 3))


def test_a_second_signal_acts_at_once():
    before = signal.getsignal(signal.SIGINT)
    steps = []
    with watch_signals() as watch:
        os.kill(os.getpid(), signal.SIGINT)
        steps.append(watch.received)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert steps == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    """`nohup scoreregs-offline-rl train ... &`, and Ctrl-C for another command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    report = run(tmp_path, progress=send(signal.SIGINT, 3))[1]
    assert report.steps == 13
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_handlers_are_put_back_after_an_error(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, progress=lambda *arguments: 1 / 0)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_training_in_a_thread_leaves_signals_alone(tmp_path):
    """Python takes handlers in the main thread only."""
    failures, before = [], signal.getsignal(signal.SIGTERM)
    handlers = []

    def work():
        try:
            run(
                tmp_path / "thread",
                progress=lambda *_: handlers.append(signal.getsignal(signal.SIGTERM)),
            )
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failures
    assert set(handlers) == {before}
    run(tmp_path / "whole")
    assert_same_outcome(tmp_path / "thread", tmp_path / "whole")


def test_the_command_says_how_to_go_on_and_does(data_file, tmp_path, monkeypatch, capsys, caplog):
    command = [
        "train",
        "--preset",
        "paper",
        "--data",
        str(data_file),
        "--run-dir",
        str(tmp_path),
        "--trainer.cpu",
    ]
    sizes = {"critic.steps": 9, "behavior.steps": 3, "policy.steps": 3, "critic.width": 8}
    sizes |= {"behavior.batch-size": 32, "evaluation.episodes": 0, "beta": 0.1}
    command += [f"--{name}={value}" for name, value in sizes.items()]
    with monkeypatch.context() as patch:
        interrupt = send(signal.SIGTERM, 4)
        patch.setattr(Bars, "__call__", lambda self, *arguments: interrupt(*arguments))
        assert main(command) == 128 + signal.SIGTERM
    error = capsys.readouterr().err
    assert "saved the critic stage at step 5 of 9: the same command goes on" in error
    assert "Traceback" not in error
    caplog.clear()
    assert main(command) == 0
    assert "critic: going on from step 5 of 9" in caplog.messages
