"""What a run expects of its policy beside its clone, and which of the two it hands over."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scoreregs import GaussianMixturePrior, TabulatedSchedule, VPSchedule
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
from scoreregs_offline_rl.data.stretches import discounted_returns
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.runs.building import probes_of
from scoreregs_offline_rl.runs.scaled import scale
from scoreregs_offline_rl.runs.verdict import (
    LARGEST,
    LEAST_STEPS,
    few_steps,
    rank_correlation,
    with_little_noise,
)
from scoreregs_offline_rl.stages.probe import Probe
from tests.offline_rl.rl_data import make_transitions

STAGES = ("critic", "behavior", "cloning", "policy")


def configuration(beta: float = 1e-6, **changes) -> TrainConfig:
    """A clone, and a policy that starts from it: at this temperature it stays there."""
    small: dict[str, Any] = {"batch_size": 32, "width": 16}
    config = TrainConfig(
        data="pendulum-swingup",
        beta=beta,
        hand_over_recommended=True,
        # Enough to order the data's actions.
        critic=CriticConfig(steps=300, warm_start=0.8, learning_rate=3e-3, **small),
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
def bad(tmp_path_factory, pictures):
    """A policy that follows a critic which knows nothing."""
    run_dir = tmp_path_factory.mktemp("bad")
    config = configuration(1e4)
    config = replace(config, policy=replace(config.policy, steps=200, learning_rate=1e-2))
    return run_dir, train(config, run_dir, stages=STAGES)


def test_a_policy_that_stays_with_the_clone_is_handed_over(good):
    run_dir, result = good
    verdict = result["verdict"]
    assert verdict["ok"]
    assert all(verdict["evidence"][name] <= limit for name, limit in LARGEST.items())
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


def test_a_critic_that_orders_nothing_is_no_reason_to_leave_the_clone(good, tmp_path, monkeypatch):
    monkeypatch.setattr("scoreregs_offline_rl.runs.verdict.LEAST_ORDER", 1.0)
    run_dir = shutil.copytree(good[0], tmp_path / "run")
    (run_dir / "result.json").unlink()
    found = train(configuration(), run_dir, stages=STAGES)["verdict"]
    assert (found["ok"], found["recommended"]) == (False, "cloning")
    order = found["evidence"]["return_order"]
    assert f"correlation of {order:.2f} with the returns that followed, at" in found["message"]


def test_few_steps_of_few_minutes_are_told():
    config = configuration(critic=CriticConfig(steps=LEAST_STEPS - 1), minutes=4.0)
    assert "in 4 minutes the critic has 19999 steps" in (few_steps(config) or "")
    assert few_steps(replace(config, minutes=None)) is None
    assert few_steps(replace(config, critic=CriticConfig(steps=LEAST_STEPS))) is None


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


def test_the_prior_s_error_at_little_noise_by_hand(bad):
    run_dir, result = bad
    models = load_models(run_dir)
    data = load_data("pendulum-swingup", models.config.loading)
    probe = probes_of(models.config, scale(data, models.config).transitions, 0).held
    log_snr = torch.linspace(4.0, 7.0, 32).repeat_interleave(len(probe.batch.actions))
    t = models.prior.schedule.t_from_log_snr(log_snr.double()).float()
    noise = torch.randn(len(t), 1, generator=torch.Generator().manual_seed(3))
    alpha, sigma = (level[:, None] for level in models.prior.schedule(t))
    seen = probe.batch.observations
    errors = []
    for name in ("policy", "cloning"):
        x_t = alpha * models.policies[name].policy(seen).repeat(32, 1) + sigma * noise
        with torch.no_grad():
            errors.append(models.prior.epsilon(x_t, t, seen.repeat(32, 1)) - noise)
    excess = float(errors[0].square().mean() / errors[1].square().mean()) - 1
    found = result["verdict"]["evidence"]["prior_error_excess"]
    assert found == pytest.approx(excess, abs=0.02)


def test_one_of_two_ways_is_nearer_to_the_prior_than_their_mean():
    """Though it is farther from the data's actions, which a regression lies nearest to."""
    actions = np.where(np.arange(64) % 2, 0.6, -0.6)[:, None]
    actions = actions + 0.05 * np.random.default_rng(0).normal(size=(64, 1))
    data = Transitions.from_arrays(
        observations=np.zeros((64, 1)),
        actions=actions,
        rewards=np.zeros(64),
        terminals=np.zeros(64, dtype=bool),
        timeouts=np.zeros(64, dtype=bool),
        next_observations=np.zeros((64, 1)),
    )
    covariances = torch.full((2, 1, 1), 0.05**2)
    means = torch.tensor([[-0.6], [0.6]])
    prior = GaussianMixturePrior(torch.ones(2) / 2, means, covariances, VPSchedule())
    probe = with_little_noise(Probe.draw(data, torch.arange(64), seed=0), prior.schedule)
    own, way, mean = (
        float(probe.errors(prior, actions).mean())
        for actions in (probe.batch.actions, torch.full((64, 1), 0.6), torch.zeros(64, 1))
    )
    assert way < own < mean / 5
    ends = prior.schedule.log_snr(torch.stack([probe.t.min(), probe.t.max()]).double())
    assert 6.5 < ends[0] <= 7.01
    assert 3.99 <= ends[1] < 4.5


def test_a_schedule_that_ends_before_little_noise_is_taken_as_it_is():
    schedule = VPSchedule()
    table = TabulatedSchedule(*schedule(torch.linspace(0.2, 1, 20, dtype=torch.float64)))
    data = make_transitions(40)
    probe = with_little_noise(Probe.draw(data, torch.arange(40), seed=0), table)
    assert torch.isfinite(probe.t).all()


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
