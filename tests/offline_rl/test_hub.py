"""Folders in the Hub's format: what is written, read back, and uploaded."""

import json
import re
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.deployment.record import TrainingRecord
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs.models import load_policy
from tests.offline_rl.rl_runs import make_policy, write_run

OBSERVATIONS = np.random.default_rng(0).normal(size=(5, 3))
FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path / "run", seed=7)


def test_save_and_load(run_dir, tmp_path):
    policy = load_policy(run_dir)
    policy.save_pretrained(tmp_path / "hub")
    assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == FILES
    loaded = TrainedPolicy.from_pretrained(tmp_path / "hub")
    np.testing.assert_array_equal(loaded(OBSERVATIONS), policy(OBSERVATIONS))
    assert loaded.environment == "Pendulum-v1"
    assert loaded.record == policy.record


def test_the_record_is_that_of_the_run(run_dir):
    policy, baseline = load_policy(run_dir), load_policy(run_dir, "awr")
    assert isinstance(policy.record, TrainingRecord)
    assert isinstance(baseline.record, TrainingRecord)
    assert (policy.record.method, policy.record.seed, policy.record.beta) == ("SRPO", 7, 0.1)
    assert policy.record.data == "swing"
    assert policy.record.evaluation is not None
    assert policy.record.evaluation.returns == (-200.0, -300.0)
    assert (baseline.record.method, baseline.record.beta) == ("advantage-weighted regression", None)
    assert baseline.record.evaluation is not None
    assert baseline.record.evaluation.mean == -450.0
    np.testing.assert_array_equal(policy(OBSERVATIONS), make_policy(0)(OBSERVATIONS))
    np.testing.assert_array_equal(baseline(OBSERVATIONS), make_policy(1)(OBSERVATIONS))


def test_card(run_dir, tmp_path):
    policy = load_policy(run_dir)
    policy.save_pretrained(tmp_path / "hub", model_card_kwargs={"license": "cc-by-4.0"})
    card = ModelCard.load(tmp_path / "hub/README.md")
    data = card.data.to_dict()
    assert data["license"] == "cc-by-4.0"
    assert data["library_name"] == "scoreregs"
    assert data["pipeline_tag"] == "reinforcement-learning"
    results = data["model-index"][0]["results"][0]
    assert results["dataset"]["name"] == "Pendulum-v1"
    metrics = {metric["type"]: metric["value"] for metric in results["metrics"]}
    # 100 (-250 + 1225.6) / (-150.3 + 1225.6)
    assert metrics == {"mean_reward": -250.0, "normalized_score": 90.73}
    for words in (
        "# SRPO policy for Pendulum-v1",
        "task: Pendulum-v1, observations of 3 numbers, actions of 1",
        "data: swing",
        "licence of the weights: cc-by-4.0",
        "| this policy, 2 episodes of Pendulum-v1 | -250.0 [-300.0, -200.0] | 90.7 [86.1, 95.4] |",
        "| the data's trajectories | -900.0 | 20.0 |",
        "seed 7, beta 0.1",
        f"torch {torch.__version__}",
        "scoreregs-offline-rl train --beta 0.1",
    ):
        assert words in card.text


def test_the_card_s_code_runs(run_dir, tmp_path, monkeypatch):
    load_policy(run_dir).save_pretrained(tmp_path / "hub")
    text = (tmp_path / "hub/README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.S)[0].replace(
        "folder or user/name", str(tmp_path / "hub")
    )
    scope = {"observations": OBSERVATIONS}
    exec(code, scope)
    assert scope["actions"].shape == (5, 1)


def test_a_card_without_a_record(tmp_path):
    make_policy().save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert "# Deterministic policy for Pendulum-v1" in card.text
    assert "data: not stated" in card.text
    assert "not chosen" in card.text
    assert "license" not in card.data.to_dict()
    assert TrainedPolicy.from_pretrained(tmp_path).record is None


def test_a_policy_without_a_simulator(run_dir, tmp_path):
    result = json.loads((run_dir / "result.json").read_text())
    (run_dir / "result.json").write_text(json.dumps(result | {"policy": None, "data_score": None}))
    policy = load_policy(run_dir)
    assert policy.record is not None
    assert policy.record.evaluation is None
    policy.save_pretrained(tmp_path / "hub")
    card = ModelCard.load(tmp_path / "hub/README.md")
    assert "model-index" not in card.data.to_dict()
    assert "| the data's trajectories | -900.0 | - |" in card.text
    assert "this policy" not in card.text
    assert "not been run in a simulator" in card.text
    assert TrainedPolicy.from_pretrained(tmp_path / "hub").record == policy.record


def test_a_card_that_is_there_is_kept(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    make_policy().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_from_the_hub(tmp_path):
    """As the Hub's cache holds a repository that was downloaded before."""
    policy = make_policy()
    repository = tmp_path / "models--user--swing"
    policy.save_pretrained(repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("a" * 40)
    loaded = TrainedPolicy.from_pretrained("user/swing", cache_dir=tmp_path, local_files_only=True)
    np.testing.assert_array_equal(loaded(OBSERVATIONS), policy(OBSERVATIONS))


def test_push(run_dir, monkeypatch):
    uploads = {}

    class Api:
        def __init__(self, token=None):
            uploads["token"] = token

        def create_repo(self, repo_id, **options):
            uploads.update(options, repository=repo_id)
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, folder_path, **options):
            files = Path(folder_path).iterdir()
            uploads["files"] = {path.name: path.read_bytes() for path in files}
            return "commit"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    options = {"license": "mit"}
    load_policy(run_dir).push_to_hub("user/swing", private=True, model_card_kwargs=options)
    assert (uploads["repository"], uploads["private"]) == ("user/swing", True)
    assert sorted(uploads["files"]) == FILES
    assert (
        uploads["files"]["model.safetensors"] == (run_dir / "agent/model.safetensors").read_bytes()
    )
    assert b"license: mit" in uploads["files"]["README.md"]


def test_what_is_no_policy(run_dir, tmp_path):
    with pytest.raises(
        ArgumentError,
        match="got stage 'critic', expected one with a policy: cloning, awr, td3_bc, policy",
    ):
        load_policy(run_dir, "critic")
    with pytest.raises(RunError, match="no finished policy"):
        load_policy(tmp_path)
    (run_dir / "result.json").write_text("{}")
    with pytest.raises(RunError, match="'data'"):
        load_policy(run_dir)
    (run_dir / "agent/model.safetensors").unlink()
    with pytest.raises(RunError, match="cannot read"):
        TrainedPolicy.from_pretrained(run_dir / "agent")


@pytest.fixture
def offline(monkeypatch):
    """A machine without a name server."""

    def refuse(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_offline_in_one_line_at_once(offline, tmp_path, capfd):
    """A single file's download would try five times, for 23 seconds."""
    start = time.perf_counter()
    with pytest.raises(RunError, match="'user/swing' is no folder here") as caught:
        TrainedPolicy.from_pretrained("user/swing", cache_dir=tmp_path)
    with pytest.raises(RunError, match="cannot push the policy to 'user/swing'") as pushed:
        make_policy().push_to_hub("user/swing", token="hf_" + "x" * 30)
    assert time.perf_counter() - start < 15
    for error in (caught.value, pushed.value):
        assert "\n" not in str(error)
        assert len(str(error)) < 400
    assert "Retrying" not in "".join(capfd.readouterr())


def test_offline_the_cache_is_enough(offline, tmp_path):
    policy = make_policy()
    repository = tmp_path / "models--user--swing"
    policy.save_pretrained(repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("a" * 40)
    loaded = TrainedPolicy.from_pretrained("user/swing", cache_dir=tmp_path)
    np.testing.assert_array_equal(loaded(OBSERVATIONS), policy(OBSERVATIONS))


@pytest.mark.parametrize("name", ["runs/swing/agent", "/no/such/folder", "..", "", "a b"])
def test_what_is_neither_a_folder_nor_a_name(tmp_path, monkeypatch, offline, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError) as caught:
        TrainedPolicy.from_pretrained(name, cache_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_settings_are_those_of_the_folder(tmp_path):
    make_policy().save_pretrained(tmp_path)
    with pytest.raises(ArgumentError, match="got width, expected nothing beyond"):
        TrainedPolicy.from_pretrained(tmp_path, width=3)
