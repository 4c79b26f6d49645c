"""The commands for finished runs: report, export, and evaluate with a film."""

import re
import shutil

import numpy as np
import pytest
from huggingface_hub import ModelCard

from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from tests.offline_rl.rl_runs import make_policy, write_run

OBSERVATIONS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path / "run")


def test_report(run_dir, tmp_path, monkeypatch, capsys):
    other = write_run(tmp_path / "other", seed=1)
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(run_dir), str(other)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\| swing +\| SRPO +\| 2 +\| 90\.7", printed)
    assert "picture: comparison.png" in printed
    assert (tmp_path / "comparison.png").exists()
    assert main(["report", str(run_dir), "--picture", "a/b.png"]) == 0
    assert (tmp_path / "a/b.png").exists()


@pytest.mark.parametrize(("stage", "seed"), [("policy", 0), ("awr", 1)])
def test_export_onnx(run_dir, tmp_path, capsys, stage, seed):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    path = tmp_path / "policy.onnx"
    assert main(["export", str(run_dir), "--to", "onnx", str(path), "--stage", stage]) == 0
    assert re.search(r"policy\.onnx: within \S+ of PyTorch", capsys.readouterr().out)
    (actions,) = runtime.InferenceSession(path).run(None, {"observation": OBSERVATIONS})
    np.testing.assert_allclose(actions, make_policy(seed)(OBSERVATIONS), atol=1e-5)


def test_export_hub(run_dir, tmp_path, capsys):
    folder = tmp_path / "hub"
    arguments = ["export", str(run_dir), str(folder), "--to", "hub", "--licence", "mit"]
    assert main(arguments) == 0
    assert "README.md, config.json, model.safetensors" in capsys.readouterr().out
    assert ModelCard.load(folder / "README.md").data.to_dict()["license"] == "mit"
    expected = make_policy()(OBSERVATIONS)
    np.testing.assert_array_equal(TrainedPolicy.from_pretrained(folder)(OBSERVATIONS), expected)


def test_evaluate_with_a_film(run_dir, tmp_path, monkeypatch, capsys):
    filmed = {}

    def record_video(policy, environment, path, *, seed):
        filmed.update(environment=environment, path=path, seed=seed)
        from scoreregs_offline_rl.evaluation.rollouts import evaluate

        return evaluate(policy, environment, 1, seed)

    monkeypatch.setattr("scoreregs_offline_rl.commands.tools.record_video", record_video)
    path = tmp_path / "swing.gif"
    arguments = ["evaluate", str(run_dir), "--episodes", "2", "--seed", "3", "--video", str(path)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert re.search(r"SRPO: return \S+, 95 % interval \S+ to \S+, normalised score", printed)
    assert f"video: {path}, return" in printed
    assert filmed == {"environment": "Pendulum-v1", "path": path, "seed": 3}


def test_the_only_policy_of_a_run_need_not_be_named(run_dir, tmp_path, capsys):
    """Of several without the policy of Eq. 15 one has to be."""
    hub = ["export", str(run_dir), str(tmp_path / "hub"), "--to", "hub"]
    (run_dir / "agent").rename(run_dir / "cloning_agent")
    assert main(hub) == 2
    assert "no finished policy" in (error := capsys.readouterr().err)
    assert "or name another stage, it has cloning, awr" in error
    film = ["evaluate", str(run_dir), "--video", str(tmp_path / "a.gif")]
    assert main(film) == 2
    assert "it has cloning, awr" in (captured := capsys.readouterr()).err
    assert captured.out == ""
    shutil.rmtree(run_dir / "cloning_agent")
    assert main(hub) == 0
    assert "advantage-weighted" in (tmp_path / "hub/README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "nowhere"], "nowhere without a result.json"),
        (
            ["export", "nowhere", "--to", "onnx", "a.onnx"],
            "nowhere, which holds no finished policy",
        ),
        (["export", "{run}", "--to", "onnx", "result.json/a.onnx"], "result.json'"),
        (["report", "{run}", "--picture", "result.json/a.png"], "name another"),
        (["export", "{run}", "--to", "onnx"], "Missing from scoreregs-offline-rl export: DEST"),
        (["evaluate", "{run}", "--environment", "MountainCarContinuous-v0"], "expected (3,)"),
        (["evaluate", "{run}", "--episodes", "2", "--video", "a.avi"], ".gif or .mp4"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(run_dir, arguments, words, monkeypatch, capsys):
    monkeypatch.chdir(run_dir)
    assert main([argument.format(run=run_dir) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1
