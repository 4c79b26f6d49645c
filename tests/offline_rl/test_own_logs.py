"""Logs without an environment: what is said of their policies, and how their rewards are scaled."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    PolicyConfig,
    RunError,
    TrainConfig,
    TrainerConfig,
    Transitions,
    load_policy,
    offline_figures,
    train,
)
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.files import load_json, load_tensors
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.resolution import resolve

EPISODES, LENGTH = 30, 10
STAGES = ("critic", "behavior", "cloning", "awr", "policy")


def log_of(rewards=None, scale=1.0, shift=0.0):
    """Episodes that end after ten rows; a third of them succeeds in the last one."""
    generator = np.random.default_rng(0)
    rows = EPISODES * LENGTH
    last = np.arange(rows) % LENGTH == LENGTH - 1
    won = last & ((np.arange(rows) // LENGTH) % 3 == 0)
    return {
        "observations": shift + scale * generator.normal(size=(rows, 2)),
        "actions": generator.uniform(-1, 1, size=(rows, 1)).astype(np.float32),
        "rewards": (won if rewards is None else rewards).astype(np.float32),
        "terminals": won,
        "timeouts": last & ~won,
    }


def configuration(path, **changes):
    config = TrainConfig(
        str(path),
        beta=0.1,
        critic=CriticConfig(steps=20, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=20, batch_size=32, width=16),
        policy=PolicyConfig(steps=20, batch_size=32, width=16),
        trainer=TrainerConfig(cpu=True, log_every=20),
    )
    return replace(config, **changes)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "arm.npz"
    np.savez(path, **log_of())
    return path


def test_report_shows_offline_figures_that_are_no_score(log, tmp_path, capsys):
    run_dir = tmp_path / "run"
    train(configuration(log), run_dir, stages=STAGES)
    assert main(["report", str(run_dir), "--picture", str(tmp_path / "none.png")]) == 0
    out = capsys.readouterr().out
    for word in ("distance", "prior error", "value less cloning's", "no score", "| policy"):
        assert word in out
    assert not (tmp_path / "none.png").exists()
    found = offline_figures(run_dir)
    assert found.reference == "cloning"
    assert set(found.figures) == {"data", "cloning", "awr", "policy"}
    assert found.figures["data"]["distance"].mean == 0
    assert found.figures["policy"]["distance"].interval is not None
    assert main(["report", str(tmp_path)]) == 2
    assert "without a result.json" in capsys.readouterr().err


def test_export_names_licence_and_interface(log, tmp_path, capsys):
    train(configuration(log), tmp_path / "run", stages=("critic", "behavior", "policy"))
    content = {
        "observations": [{"name": "angle", "unit": "rad"}, {"name": "speed", "unit": "rad/s"}],
        "actions": [{"name": "torque", "unit": "N m"}],
        "rate": 100.0,
    }
    (tmp_path / "arm.json").write_text(json.dumps(content))
    words = ["export", str(tmp_path / "run"), str(tmp_path / "p.onnx"), "--to", "onnx"]
    more = ["--licence", "mit", "--interface", str(tmp_path / "arm.json")]
    assert main([*words, *more]) == 0
    assert "p.onnx.json" in capsys.readouterr().out
    manifest = load_json(tmp_path / "p.onnx.json")
    assert (manifest["licence"], manifest["rate_hz"]) == ("mit", 100.0)
    assert [o["name"] for o in manifest["observations"]] == ["angle", "speed"]
    assert manifest["actions"][0]["unit"] == "N m"
    content["actions"] = []
    (tmp_path / "arm.json").write_text(json.dumps(content))
    assert main([*words, *more]) == 2
    assert "each name once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rewards", "scaling"),
    [
        (None, "none"),
        (np.ones(EPISODES * LENGTH), "return_range"),
        (np.arange(EPISODES * LENGTH) % 2 * 0.5, "return_range"),
        (np.zeros(EPISODES * LENGTH), "return_range"),
        (np.arange(EPISODES * LENGTH) % 7 == 0, "none"),
        (-(np.arange(EPISODES * LENGTH) % 7 == 0).astype(float), "return_range"),
    ],
)
def test_rewards_for_success_keep_their_meaning(rewards, scaling, caplog):
    data = Transitions.from_arrays(**log_of(rewards), source="arm")
    caplog.set_level("INFO")
    assert resolve(configuration("arm"), data).rewards == scaling
    said = [r.getMessage() for r in caplog.records if "0 and 1" in r.getMessage()]
    assert len(said) == (scaling == "none")
    chosen = resolve(configuration("arm", rewards="return_range"), data)
    assert chosen.rewards == "return_range"


def test_a_run_keeps_the_scaling_that_it_began_with(log, tmp_path):
    """What an older version chose without asking the data, and wrote into the configuration."""
    config, run_dir = configuration(log), tmp_path / "run"
    train(replace(config, rewards="return_range"), run_dir, stages=["critic"])
    train(config, run_dir, stages=["critic", "behavior"])
    assert RunDirectory(run_dir).read_config().rewards == "return_range"
    train(config, tmp_path / "new", stages=["critic"])
    assert load_json(tmp_path / "new" / "config.json")["rewards"] == "none"
    with pytest.raises(RunError, match="rewards: 'return_range' before, 'none' now"):
        train(replace(config, rewards="none"), run_dir, stages=["critic"])


def test_an_older_run_goes_on_with_its_least_deviation(tmp_path):
    """Its configuration does not know the setting; then it was 0.001."""
    path = tmp_path / "small.npz"
    np.savez(path, **log_of(scale=1e-5))
    config = configuration(path)
    train(replace(config, minimum_std=1e-3), tmp_path / "whole", stages=["critic", "behavior"])
    old = tmp_path / "old"
    train(replace(config, minimum_std=1e-3), old, stages=["critic"])
    content = load_json(old / "config.json")
    del content["minimum_std"]
    (old / "config.json").write_text(json.dumps(content))
    train(config, old, stages=["critic", "behavior"])
    train(config, tmp_path / "new", stages=["critic", "behavior"])
    weights = [
        load_tensors(tmp_path / name / "behavior" / "weights.safetensors")
        for name in ("whole", "old", "new")
    ]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_a_mean_that_float32_cannot_hold_is_kept(tmp_path):
    path, run_dir = tmp_path / "clock.npz", tmp_path / "run"
    np.savez(path, **log_of(shift=1.7e9))
    train(configuration(path), run_dir, stages=("critic", "behavior", "policy"))
    policy = load_policy(run_dir)
    assert policy.observation_mean.dtype == torch.float64
    near = 1.7e9 + np.array([[0.0, 0.0], [0.5, 0.0]])
    actions = policy(near)
    assert actions.dtype == np.float32
    centred = (torch.as_tensor(near) - policy.observation_mean) / policy.observation_std
    expected = policy.action_scaling.denormalize(policy.policy(centred.float()))
    np.testing.assert_allclose(actions, expected.numpy(), atol=1e-5)
    assert abs(actions[0, 0] - actions[1, 0]) > 1e-4
