"""What a run expects of its policy beside its clone, and which of the two it hands over."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scoreregs_offline_rl import (
    BehaviorConfig,
    CloningConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
    load_models,
    load_policy,
    preset,
    train,
)
from scoreregs_offline_rl.commands.console import verdict_line
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.runs.scaled import scale
from scoreregs_offline_rl.runs.verdict import LARGEST_EXCESS, discounted_returns, rank_correlation

STAGES = ("critic", "behavior", "cloning", "policy")


def configuration(beta: float = 1e-6, **changes) -> TrainConfig:
    """A clone, and a policy that starts from it: at this temperature it stays there."""
    small: dict[str, Any] = {"batch_size": 32, "width": 16}
    config = TrainConfig(
        data="pendulum-swingup",
        beta=beta,
        hand_over_recommended=True,
        critic=CriticConfig(steps=20, **small),
        behavior=BehaviorConfig(steps=20, blocks=1, **small),
        cloning=CloningConfig(steps=400, learning_rate=3e-3, policies=2),
        policy=PolicyConfig(
            steps=20,
            policies=2,
            start="cloning",
            beta_on="value",
            normalize="batch",
            data_weight=1.0,
            weighting="uniform",
            **small,
        ),
        evaluation=EvaluationConfig(episodes=1),
        trainer=TrainerConfig(log_every=10, checkpoint_every=400, cpu=True),
    )
    return replace(config, **changes)


def method_of(run_dir: Path, stage: str | None = None) -> str:
    record = load_policy(run_dir, stage).record
    assert record is not None
    return record.method


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("good")
    return run_dir, train(configuration(), run_dir, stages=STAGES)


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A policy that follows a critic which knows nothing."""
    run_dir = tmp_path_factory.mktemp("bad")
    config = configuration(1e4)
    config = replace(config, policy=replace(config.policy, steps=200, learning_rate=1e-2))
    return run_dir, train(config, run_dir, stages=STAGES)


def test_a_policy_that_stays_with_the_clone_is_handed_over(good):
    run_dir, result = good
    verdict = result["verdict"]
    assert verdict["ok"]
    assert verdict["evidence"]["action_error_excess"] <= LARGEST_EXCESS
    assert verdict["recommended"] == "policy"
    assert method_of(run_dir) == "SRPO"


def test_a_policy_that_leaves_the_data_is_named_and_replaced(bad, caplog):
    run_dir, result = bad
    verdict = result["verdict"]
    assert not verdict["ok"]
    assert verdict["evidence"]["prior_error_ratio"] > 1
    assert "not expected to be as good as plain cloning" in verdict["message"]
    assert verdict["recommended"] == "cloning"
    with caplog.at_level(logging.WARNING):
        assert method_of(run_dir) == "cloning"
    assert "cloning takes the place of policy" in caplog.text
    assert method_of(run_dir, "policy") == "SRPO"


def test_what_is_not_asked_to_switch_does_not(bad, tmp_path):
    run_dir, result = bad
    config = replace(load_models(run_dir).config, hand_over_recommended=False)
    assert not preset("hopper-medium-v2").hand_over_recommended
    assert preset("my.npz", "laptop").hand_over_recommended
    # A setting that bears on no stage may change, and counts at once.
    again = train(config, run_dir, stages=STAGES)
    assert again == result
    assert method_of(run_dir) == "SRPO"
    train(replace(config, hand_over_recommended=True), run_dir, stages=STAGES)
    assert method_of(run_dir) == "cloning"


def test_the_evidence_by_hand(bad):
    run_dir, result = bad
    models = load_models(run_dir)
    data = load_data("pendulum-swingup", models.config.loading)
    scaled = scale(data, models.config).transitions
    pick = slice(0, len(scaled), 7)
    distance = {}
    for name in ("policy", "cloning"):
        actions = torch.as_tensor(models.policies[name](data.observations.float()))
        low, high = models.policies[name].action_low, models.policies[name].action_high
        unit = 2 * (actions - low) / (high - low) - 1
        distance[name] = float((unit - scaled.actions)[pick].square().sum(-1).mean())
    excess = distance["policy"] / distance["cloning"] - 1
    # Other rows: to a few per cent.
    found = result["verdict"]["evidence"]["action_error_excess"]
    assert found == pytest.approx(excess, rel=0.1)


def test_returns_and_ranks_by_hand():
    data = Transitions.from_arrays(
        observations=np.zeros((5, 1)),
        actions=np.zeros((5, 1)),
        rewards=np.array([1.0, 2.0, 4.0, 8.0, 16.0]),
        terminals=np.array([False, True, False, False, True]),
        timeouts=np.zeros(5, dtype=bool),
        next_observations=np.zeros((5, 1)),
    )
    found = discounted_returns(data, 0.5)
    assert found.tolist() == [2.0, 2.0, 12.0, 16.0, 16.0]
    a = torch.tensor([0.1, 5.0, 2.0, 9.0])
    assert rank_correlation(a, a.exp()) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, torch.tensor([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.8)


def test_the_line_and_the_picture(bad, tmp_path):
    run_dir, result = bad
    line = verdict_line(result, recommends=True)
    assert line.startswith("policy ")
    assert "verdict WARNING" in line
    assert line.endswith("`export` takes cloning")
    assert (run_dir / "run.png").stat().st_size > 10_000
    assert main(["export", str(run_dir), str(tmp_path / "a.onnx"), "--to", "onnx"]) == 0
    written = load_json(tmp_path / "a.json") if (tmp_path / "a.json").exists() else None
    assert written is None or "cloning" in json.dumps(written)


def test_without_a_clone_there_is_no_verdict(tmp_path):
    result = train(configuration(), tmp_path, stages=("critic", "behavior", "cloning"))
    assert result["verdict"] is None
