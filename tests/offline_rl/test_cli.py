"""The command line: two commands, one line for every error of the user's."""

import json

import pytest
from scoreregs_offline_rl.cli import main
from scoreregs_offline_rl.hdf5 import save_hdf5
from scoreregs_offline_rl.pendulum import record_pendulum_swingup


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
        "baseline.steps": 4,
        "behavior.batch-size": 64,
        "evaluation.episodes": 2,
    }
    shrunken = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    command = ["train", "--data", str(data), "--run-dir", str(run_dir), "--trainer.cpu"]
    return main([*command, *shrunken, *more])


def test_train_and_evaluate(data_file, tmp_path, capsys):
    assert train(data_file, tmp_path / "run", "--beta", "0.1") == 0
    captured = capsys.readouterr()
    for line in ("policy: return", "advantage-weighted actor: return", "data: return"):
        assert line in captured.out
    for stage in ("critic", "behavior", "baseline", "policy"):
        assert f"{stage}: 100%" in captured.err
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert {name: stage["steps"] for name, stage in result["stages"].items()} == {
        "critic": 5,
        "behavior": 5,
        "baseline": 4,
        "policy": 5,
    }
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "2"]) == 0
    assert "policy: return" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "nowhere.hdf5", "--run-dir", "r", "--beta", "1"], "nowhere.hdf5"),
        (["train", "--data", "pendulum-swingup", "--run-dir", "r"], "give --beta"),
        (["evaluate", "nowhere"], "cannot read"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    arguments, message, tmp_path, monkeypatch, capsys, caplog
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCOREREGS_CACHE", str(tmp_path / "cache"))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "arguments", [["train"], ["train", "--data", "a", "--run-dir", "r", "--critic.expectile", "2"]]
)
def test_a_wrong_argument_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(data_file, tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("scoreregs_offline_rl.cli.train", interrupted)
    assert train(data_file, tmp_path) == 130
    assert "the same command goes on" in capsys.readouterr().err
