"""Stages by themselves, settings that may still change, weights from elsewhere, no environment."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import CriticConfig, PolicyConfig
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.errors import DataError, RunError
from scoreregs_offline_rl.runs.models import load_policy
from scoreregs_offline_rl.runs.paper_weights import load_paper_behavior, load_paper_critic
from scoreregs_offline_rl.runs.presets import preset
from scoreregs_offline_rl.runs.resolution import resolve
from scoreregs_offline_rl.runs.run import evaluate_run, train
from tests.offline_rl.killable import configuration
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions
from tests.shared import shared_file


@pytest.fixture(scope="module")
def data():
    return make_transitions(400)


def small(**changes):
    config = configuration("made up")
    return replace(config, evaluation=replace(config.evaluation, episodes=2), **changes)


def weights_of(run_dir, stage):
    return (run_dir / stage / "weights.safetensors").read_bytes()


def refuse(stage, step, steps, metrics):
    raise AssertionError(f"the {stage} stage was trained again")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    run_dir = tmp_path_factory.mktemp("whole")
    return run_dir, train(small(), run_dir, data=data)


def test_stages_one_by_one_are_a_whole_run(whole, data, tmp_path):
    result = {}
    for stage in ("behavior", "critic", "policy", "awr"):
        result = train(small(), tmp_path, data=data, stages=[stage])
    for stage in ("critic", "behavior", "awr", "policy"):
        assert weights_of(tmp_path, stage) == weights_of(whole[0], stage)
    assert set(result["stages"]) == set(whole[1]["stages"])
    assert result["health"] == whole[1]["health"]
    # Nothing is left to do, and nothing is done.
    assert train(small(), tmp_path, data=data, progress=refuse) == result


def test_a_subset_trains_what_it_says(data, tmp_path):
    result = train(small(), tmp_path, data=data, stages=["critic"])
    assert list(result["stages"]) == ["critic"]
    assert list(result["health"]) == ["critic"]
    assert not (tmp_path / "behavior").exists()
    assert result["policy"] is None


@pytest.mark.parametrize(
    ("stage", "finished", "missing"),
    [("policy", [], "critic"), ("policy", ["critic"], "behavior"), ("awr", [], "critic")],
)
def test_a_stage_without_what_it_builds_on(data, tmp_path, stage, finished, missing):
    if finished:
        train(small(), tmp_path, data=data, stages=finished)
    with pytest.raises(RunError, match=f"the {stage} stage, which needs a finished {missing}"):
        train(small(), tmp_path, data=data, stages=[stage])
    assert not (tmp_path / stage).exists()


def test_unknown_stages(data, tmp_path):
    stages: list[Any]
    for stages in ([], ["actor"]):
        with pytest.raises(
            RunError, match="expected some of critic, behavior, cloning, awr, td3_bc, policy"
        ):
            train(small(), tmp_path, data=data, stages=stages)


def test_a_setting_may_change_until_its_stage_starts(data, tmp_path):
    train(small(beta=None), tmp_path, data=data, stages=["critic"])
    other_critic = small(critic=CriticConfig(steps=31, batch_size=32, width=16))
    with pytest.raises(RunError, match=r"\(critic.steps: 30 before, 31 now\)"):
        train(other_critic, tmp_path, data=data, stages=["behavior"])
    with pytest.raises(RunError, match=r"\(seed: 0 before, 1 now\)"):
        train(small(seed=1), tmp_path, data=data, stages=["behavior"])
    changed = small(beta=0.5, policy=PolicyConfig(steps=5, batch_size=32, width=8))
    changed = replace(changed, trainer=replace(changed.trainer, log_every=3))
    result = train(changed, tmp_path, data=data, stages=["behavior", "policy"])
    assert result["beta"] == 0.5
    assert json.loads((tmp_path / "config.json").read_text())["trainer"]["log_every"] == 3
    with pytest.raises(RunError, match=r"\(beta: 0.5 before, 0.6 now\)"):
        train(replace(changed, beta=0.6), tmp_path, data=data, stages=["policy"])


def test_another_temperature_on_the_models_of_another_run(whole, data, tmp_path):
    """The policy stage alone, with weights of a run that is named in place of training."""
    source = str(whole[0])
    config = small(beta=0.3)
    config = replace(
        config,
        critic=replace(config.critic, weights=source),
        behavior=replace(config.behavior, weights=source),
    )
    result = train(config, tmp_path, data=data, stages=["policy"])
    for stage in ("critic", "behavior"):
        assert weights_of(tmp_path, stage) == weights_of(whole[0], stage)
        assert result["stages"][stage]["steps"] == 0
        assert result["stages"][stage]["source"] == source
    assert weights_of(tmp_path, "policy") != weights_of(whole[0], "policy")
    direct = train(small(beta=0.3), tmp_path / "direct", data=data)
    assert weights_of(tmp_path, "policy") == weights_of(tmp_path / "direct", "policy")
    assert direct["health"]["policy"] == result["health"]["policy"]


def test_weights_that_do_not_fit(whole, data, tmp_path):
    def with_weights(**critic):
        config = small(**critic.pop("run", {}))
        weights = replace(config.critic, weights=str(critic.pop("source", whole[0])), **critic)
        return replace(config, critic=weights)

    cases = [
        (with_weights(width=8), data, r"weights of another size in .*critic"),
        (with_weights(source=tmp_path), data, "a directory without a finished critic"),
        (with_weights(source=tmp_path / "no.pth"), data, "normalize_observations"),
        (with_weights(run={"rewards": "none"}), data, "rewards: 'return_range' before, 'none' now"),
        (with_weights(), make_transitions(400, seed=1), "run on other inputs.*data"),
    ]
    for number, (config, transitions, message) in enumerate(cases):
        with pytest.raises(RunError, match=message):
            train(config, tmp_path / str(number), data=transitions, stages=["critic"])


def test_the_policy_stage_alone_from_the_papers_weights(tmp_path):
    critic = shared_file("oracles/hopper-medium-expert/critic.pth")
    behavior = shared_file("oracles/hopper-medium-expert/behavior.pth")
    generator = torch.Generator().manual_seed(0)
    made = Transitions.from_arrays(
        observations=torch.randn(600, 11, generator=generator).numpy(),
        actions=(2 * torch.rand(600, 3, generator=generator) - 1).numpy(),
        rewards=torch.rand(600, generator=generator).numpy(),
        terminals=torch.zeros(600).numpy(),
        timeouts=(torch.arange(600) % 50 == 49).numpy(),
    )
    config = preset("hopper-medium-expert-v2", "paper-exact")
    config = replace(
        config,
        critic=replace(config.critic, weights=str(critic)),
        behavior=replace(config.behavior, weights=str(behavior)),
        policy=replace(config.policy, steps=3),
        evaluation=replace(config.evaluation, episodes=0),
        trainer=replace(config.trainer, cpu=True),
    )
    result = train(config, tmp_path, data=made, stages=["policy"])
    assert result["beta"] == 0.01
    assert result["stages"]["critic"]["source"] == str(critic)
    saved = load_file(tmp_path / "critic/weights.safetensors")
    theirs = load_paper_critic(critic).state_dict()
    assert all(saved[f"critic.{name}"].equal(tensor) for name, tensor in theirs.items())
    saved = load_file(tmp_path / "behavior/weights.safetensors")
    theirs = load_paper_behavior(behavior).state_dict()
    assert all(saved[f"network.{name}"].equal(tensor) for name, tensor in theirs.items())
    wrong = replace(config, critic=replace(config.critic, width=128))
    with pytest.raises(RunError, match="critic weights of another size"):
        train(wrong, tmp_path / "wrong", data=made, stages=["critic"])


def test_without_an_environment(whole, data):
    """Bounds are those of the data, nothing is evaluated, the checks are there."""
    run_dir, result = whole
    config = json.loads((run_dir / "config.json").read_text())
    assert config["evaluation"]["environment"] is None
    assert config["action_low"] == pytest.approx(data.actions.amin(0).tolist())
    assert config["action_high"] == pytest.approx(data.actions.amax(0).tolist())
    assert (result["policy"], result["awr"], result["normalized_score"]) == (None, None, None)
    assert result["data_score"] is None
    assert set(result["health"]) == {"critic", "behavior", "policy"}
    policy = TrainedPolicy.load(run_dir / "agent")
    actions = policy(torch.randn(50, OBSERVATION))
    assert (actions >= data.actions.amin(0) - 1e-6).all()
    assert (actions <= data.actions.amax(0) + 1e-6).all()
    assert load_policy(run_dir)(torch.randn(50, OBSERVATION)).shape == (50, ACTION)
    with pytest.raises(RunError, match="names no environment: give its Gymnasium id"):
        evaluate_run(run_dir)


def test_bounds_that_the_user_gives(data):
    config = small(action_low=(-2.0,), action_high=(2.0, 3.0))
    resolved = resolve(config, data)
    assert (resolved.action_low, resolved.action_high) == ((-2.0, -2.0), (2.0, 3.0))
    with pytest.raises(ArgumentError, match="got 3 bounds of the actions, expected 1 or 2"):
        resolve(replace(config, action_high=(1.0, 1.0, 1.0)), data)
    constant = replace(data, actions=torch.full_like(data.actions, 0.5))
    with pytest.raises(DataError, match="give --action-low and --action-high"):
        resolve(small(), constant)


def test_an_action_that_never_changes_has_no_bounds(data, tmp_path):
    data = replace(data, actions=torch.stack([data.actions[:, 0], torch.ones(len(data))], dim=1))
    with pytest.raises(DataError, match=r"got 1 in every row of column 1.*--action-low"):
        train(small(), tmp_path, data=data)
    assert not (tmp_path / "config.json").exists()


def test_an_environment_that_is_not_installed(data, caplog):
    """Named by the data it is done without, and that is said; named by the user it is refused."""
    named = replace(data, environment="relocate-human-v2")
    with caplog.at_level(logging.WARNING):
        assert resolve(small(), named).evaluation.environment is None
    assert "policies are checked but not evaluated" in caplog.messages[0]
    config = small()
    asked = replace(config, evaluation=replace(config.evaluation, environment="Nowhere-v0"))
    with pytest.raises(ArgumentError, match="Nowhere-v0"):
        resolve(asked, data)


def test_an_evaluation_may_follow_later(tmp_path):
    path = tmp_path / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    config = replace(configuration(str(path)), data=str(path))
    without = replace(config, evaluation=replace(config.evaluation, episodes=0))
    assert train(without, tmp_path / "run")["policy"] is None
    result = train(config, tmp_path / "run", progress=refuse)
    assert len(result["policy"]["returns"]) == 1
    more = replace(config, evaluation=replace(config.evaluation, episodes=2))
    assert len(train(more, tmp_path / "run", progress=refuse)["policy"]["returns"]) == 2
