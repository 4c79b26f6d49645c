"""The command line: every command, one line for every error of the user's."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import scoreregs_offline_rl
from scoreregs_offline_rl import TrainConfig
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.configuration import from_dict
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.training.interruption import InterruptedRun


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    return path


def train(data, run_dir, *more):
    sizes = {
        "critic.steps": 5,
        "behavior.steps": 5,
        "policy.steps": 5,
        "awr.steps": 4,
        "behavior.batch-size": 64,
        "evaluation.episodes": 2,
    }
    shrunken = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    command = ["train", "--preset", "paper", "--data", str(data), "--run-dir", str(run_dir)]
    return main([*command, "--trainer.cpu", *shrunken, *more])


def test_train_and_evaluate(data_file, tmp_path, capsys):
    assert train(data_file, tmp_path / "run", "--beta", "0.1") == 0
    captured = capsys.readouterr()
    for line in ("SRPO: return", "advantage-weighted regression: return", "data: return"):
        assert line in captured.out
    for stage in ("critic", "behavior", "awr", "policy"):
        assert f"{stage}: 100%" in captured.err
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert {name: stage["steps"] for name, stage in result["stages"].items()} == {
        "critic": 5,
        "behavior": 5,
        "awr": 4,
        "policy": 5,
    }
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "2"]) == 0
    evaluated = capsys.readouterr().out.splitlines()
    assert len(evaluated) == 2
    assert set(evaluated) < set(captured.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "nowhere.hdf5", "--run-dir", "r", "--beta", "1"], "nowhere.hdf5"),
        (
            ["train", "--preset", "paper", "--data", "pendulum-swingup", "--run-dir", "r"],
            "give --beta",
        ),
        (["policy", "--data", "pendulum-swingup", "--run-dir", "r"], "needs a finished critic"),
        (["train", "--data", "pendulum-swingup", "--run-dir", "file", "--beta", "1"], "file"),
        (["evaluate", "nowhere"], "no finished policy"),
        (["diagnose", "nowhere"], "nowhere, which holds no run"),
        (["report"], "got no run directories"),
        (["report", "nowhere"], "without a result.json"),
        (["evaluate", "nowhere", "--video", "a.avi"], "ends in .gif or .mp4"),
        (["inspect"], "Missing from scoreregs-offline-rl inspect: SOURCE: see"),
        ([], "Expected one of {inspect, train, "),
        (["trian"], "got the command 'trian', expected one of inspect, train, "),
        (["td3-cb", "--data", "a"], "report, export; did you mean 'td3_bc'"),
        (["train", "--run-dir", "r"], "Missing from scoreregs-offline-rl train: --data STR: see"),
        (["train", "--data", "a", "--run-dir", "r", "--seed", "x"], "parsing --seed: invalid"),
        (["train", "--data", "a", "--run-dir", "r", "--preset", "lptop"], "did you mean 'laptop'"),
        (
            ["train", "--stages", "polcy", "--data", "a", "--run-dir", "r"],
            "did you mean 'policy'?: see",
        ),
        (
            ["train", "--data", "a", "--run-dir", "r", "--critic.expctile", ".7"],
            "Perhaps you meant: --critic.expectile FLOAT: see scoreregs-offline-rl train --help",
        ),
        (
            ["train", "--data", "a", "--run-dir", "r", "--critic.expectile", "2"],
            "error: got CriticConfig.expectile = 2.0, expected float in (0, 1): change it: see",
        ),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCOREREGS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "file").touch()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "r").exists()


def test_a_traceback_on_request(monkeypatch):
    arguments = ["train", "--data", "nowhere.hdf5", "--run-dir", "r"]
    with pytest.raises(DataError):
        main([*arguments, "--traceback"])
    monkeypatch.setenv("SCOREREGS_TRACEBACK", "1")
    with pytest.raises(DataError):
        main(arguments)
    monkeypatch.setenv("SCOREREGS_TRACEBACK", "0")
    assert main(arguments) == 2


@pytest.mark.parametrize(
    ("arguments", "reader"),
    [
        (["inspect", "hopper-medium-v2"], "commands.tools.load_data"),
        (["train", "--data", "hopper-medium-v2", "--run-dir", "r"], "runs.resolution.load_data"),
    ],
)
def test_a_download_has_a_bar(arguments, reader, monkeypatch, capsys):
    def load(source, loading, *, progress):
        progress(250, 1000)
        raise DataError("cut")

    monkeypatch.setattr(f"scoreregs_offline_rl.{reader}", load)
    assert main(arguments) == 2
    assert "download:  25%" in capsys.readouterr().err


def test_no_memory_left_is_one_line(data_file, tmp_path, monkeypatch, capsys):
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr("scoreregs_offline_rl.commands.train.train", full)
    assert train(data_file, tmp_path) == 2
    assert capsys.readouterr().err == "error: CUDA out of memory. Tried to allocate\n"


def test_a_mistake_of_ours_is_not_the_users(data_file, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise KeyError("ours")

    monkeypatch.setattr("scoreregs_offline_rl.commands.train.train", broken)
    with pytest.raises(KeyError):
        train(data_file, tmp_path)


COMMANDS = {
    "inspect": "what a data set holds",
    "train": "--policy.beta-on",
    "critic": "--critic.expectile",
    "behavior": "--behavior.held-out",
    "awr": "--awr.advantage-scale",
    "policy": "--run-dir",
    "diagnose": "without a simulator",
    "evaluate": "--environment",
    "report": "--picture",
    "export": "--licence",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    help_text = capsys.readouterr().out
    assert COMMANDS[command] in help_text
    assert "__tyro" not in help_text


def test_options_that_messages_name_are_there(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
    option = re.compile(r"--[a-z][\w.-]*[a-z]")
    there = {*option.findall(capsys.readouterr().out), "--version", "--traceback"}
    # Of launchers, and what older versions called something.
    there |= {"--cpu", "--multi_gpu", "--baseline.clip", "--run_dir"}
    sources = Path(scoreregs_offline_rl.__file__).parent.rglob("*.py")
    named = {found: path.name for path in sources for found in option.findall(path.read_text())}
    assert {name: path for name, path in named.items() if name not in there} == {}


def test_help_shows_the_settings_of_the_data(capsys):
    def shown(*arguments):
        with pytest.raises(SystemExit):
            main(["train", "--preset", "paper", *arguments, "--help"])
        text = " ".join(capsys.readouterr().out.replace("│", " ").split())
        option = text.index("--critic.expectile")
        return text[option:].split("(default: ")[1].split(")")[0]

    assert shown() == "0.7"
    assert shown("--data", "antmaze-umaze-v2") == "0.9"
    assert shown("--data=antmaze-umaze-v2") == "0.9"


def test_show_config(data_file, tmp_path, capsys):
    assert train(data_file, tmp_path / "run", "--beta", "0.1", "--show-config") == 0
    config = from_dict(TrainConfig, json.loads(capsys.readouterr().out))
    assert (config.beta, config.critic.steps, config.awr.steps) == (0.1, 5, 4)
    assert (config.action_low, config.evaluation.environment) == ((-2.0,), "Pendulum-v1")
    assert not (tmp_path / "run").exists()
    assert train(data_file, "run", "--beta=1", "--preset", "paper-exact", "--show-config") == 0
    assert not json.loads(capsys.readouterr().out)["normalize_observations"]


def test_stage_by_stage_with_the_settings_of_the_run(data_file, tmp_path, capsys):
    """Later commands name the run alone; a stage that has not started may still be changed."""
    run_dir = tmp_path / "run"
    assert train(data_file, run_dir, "--stages", "behavior", "critic") == 0
    assert "critic check" in capsys.readouterr().out
    assert main(["policy", "--run-dir", str(run_dir), "--beta", "0.2", "--policy.steps", "7"]) == 0
    captured = capsys.readouterr()
    assert "SRPO: return" in captured.out
    assert "advantage-weighted" not in captured.out
    result = json.loads((run_dir / "result.json").read_text())
    assert {name: stage["steps"] for name, stage in result["stages"].items()} == {
        "critic": 5,
        "behavior": 5,
        "policy": 7,
    }
    assert result["beta"] == 0.2
    assert result["awr"] is None
    assert main(["policy", "--run-dir", str(run_dir), "--beta", "0.3"]) == 2
    assert "(beta: 0.2 before, 0.3 now): choose another run" in capsys.readouterr().err
    assert main(["diagnose", str(run_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" check: ")[0] for line in lines] == ["critic", "behavior", "policy"]


def test_an_interruption_says_how_to_go_on(data_file, tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise InterruptedRun("critic", 3, 5, signal.SIGTERM)

    monkeypatch.setattr("scoreregs_offline_rl.commands.train.train", interrupted)
    assert train(data_file, tmp_path) == 143
    assert "step 3 of 5: the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr("scoreregs_offline_rl.commands.train.train", _interrupt)
    assert train(data_file, tmp_path) == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr("scoreregs_offline_rl.commands.tools.evaluate_run", _interrupt)
    assert main(["evaluate", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def _interrupt(*arguments, **options):
    raise KeyboardInterrupt


def test_a_reader_that_has_seen_enough():
    """`scoreregs-offline-rl train --help | head -1` shows no traceback."""
    command = [sys.executable, "-m", "scoreregs_offline_rl", "train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 128 + signal.SIGPIPE
