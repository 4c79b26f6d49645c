"""A run that is given no temperature takes one by itself, and says which."""

import logging
import os
import signal
from dataclasses import replace
from typing import Any

import pytest

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import (
    AWRConfig,
    BehaviorConfig,
    CloningConfig,
    CriticConfig,
    EvaluationConfig,
    InterruptedRun,
    PolicyConfig,
    RunError,
    SweepGrid,
    TrainConfig,
    TrainerConfig,
    load_policy,
    preset,
    rehearse,
    sweep,
    train,
)
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.runs import temperature
from scoreregs_offline_rl.runs.comparison import _chosen
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.training.lost_members import DivergedError
from tests.offline_rl.rl_data import make_transitions

STAGES = ("critic", "behavior", "cloning", "policy")
CHOICES = (0.01, 0.1, 1.0)


def configuration(beta: float | None = None, **policy: Any) -> TrainConfig:
    small: dict[str, Any] = {"steps": 8, "batch_size": 16, "width": 16}
    usual: dict[str, Any] = {"policies": 2, "beta_choices": CHOICES, "start": "cloning"}
    return TrainConfig(
        data="made",
        beta=beta,
        critic=CriticConfig(**small),
        behavior=BehaviorConfig(**small, blocks=1),
        cloning=CloningConfig(**small, policies=2),
        policy=PolicyConfig(**small | usual | policy),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=4, checkpoint_every=4, cpu=True),
    )


@pytest.fixture(scope="module")
def data():
    return make_transitions(200)


@pytest.fixture
def excesses(monkeypatch):
    """What the prior is made to say of each temperature."""
    said = {0.1: 0.0, 1.0: 0.5}
    choose = temperature.choose_beta

    def chosen(choices, order, directory, trainer, trial):
        def told(beta, *more):
            trial(beta, *more)
            return said[beta]

        return choose(choices, 1.0, directory, trainer, told)

    monkeypatch.setattr("scoreregs_offline_rl.runs.pipeline.choose_beta", chosen)
    return said


def weights_of(run_dir):
    return (run_dir / "policy/weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("said", "expected"), [((0.0, 0.5), 0.1), ((0.5, 0.0), 0.01), ((0.0, 0.005), 1.0)]
)
def test_it_is_the_run_of_that_temperature(data, tmp_path, excesses, said, expected):
    excesses.update(zip(CHOICES[1:], said, strict=True))
    result = train(configuration(), tmp_path / "open", stages=STAGES, data=data)
    assert result["beta"] == load_json(tmp_path / "open/config.json")["beta"] == expected
    kept = load_json(tmp_path / "open/beta.json")
    assert kept["beta"] == expected
    tried = [(one["beta"], one["prior_error_excess"]) for one in kept["tried"]]
    assert tried == list(zip(CHOICES[1:], said, strict=True))[: 1 if expected == 0.01 else 2]
    assert result["seconds"] > kept["seconds"] > 0
    record = load_policy(tmp_path / "open").record
    assert record is not None
    assert record.beta == expected
    given = train(configuration(expected), tmp_path / "given", stages=STAGES, data=data)
    assert weights_of(tmp_path / "open") == weights_of(tmp_path / "given")
    assert given["verdict"] == result["verdict"]
    assert not (tmp_path / "given/beta.json").exists()


def test_again_it_does_nothing(data, tmp_path):
    result = train(configuration(), tmp_path, stages=STAGES, data=data)

    def refuse(*step):
        raise AssertionError(step)

    assert train(configuration(), tmp_path, stages=STAGES, data=data, progress=refuse) == result
    with pytest.raises(RunError, match=r"policy\.beta_choices"):
        train(configuration(beta_choices=(0.1, 0.2)), tmp_path, stages=STAGES, data=data)


@pytest.mark.parametrize("at", [5, 13, 21])
def test_interrupted_in_a_trial_it_ends_as_if_it_had_not(data, tmp_path, excesses, at):
    """Step 13 of the stage is the fifth of its second training, of three at most."""

    def stop(running, done, steps, metrics):
        assert steps == 24 or running != "policy"
        if (running, done) == ("policy", at):
            os.kill(os.getpid(), signal.SIGTERM)

    train(configuration(), tmp_path / "whole", stages=STAGES, data=data)
    with pytest.raises(InterruptedRun):
        train(configuration(), tmp_path / "cut", stages=STAGES, data=data, progress=stop)
    result = train(configuration(), tmp_path / "cut", stages=STAGES, data=data)
    assert result["beta"] == 0.1
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")


def test_killed_at_any_file_it_ends_as_if_it_had_not(data, tmp_path, excesses, monkeypatch):
    train(configuration(), tmp_path / "whole", stages=STAGES, data=data)
    train(configuration(), tmp_path / "cut", stages=STAGES[:3], data=data)
    for written in range(2):
        left = [written]

        def save(path, content, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            save_json(path, content)

        monkeypatch.setattr("scoreregs_offline_rl.runs.directory.save_json", save)
        directory = RunDirectory(tmp_path / "cut")
        with pytest.raises(KeyboardInterrupt):
            directory.keep_beta(0.1, {0.1: 0.0, 1.0: 0.5}, 1.0)
    monkeypatch.setattr("scoreregs_offline_rl.runs.directory.save_json", save_json)
    assert RunDirectory(tmp_path / "cut").chosen_beta() is None
    assert train(configuration(), tmp_path / "cut", stages=STAGES, data=data)["beta"] == 0.1
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")


def test_one_that_diverges_is_too_far(data, tmp_path, monkeypatch):
    def chosen(choices, order, directory, trainer, trial):
        def told(beta, *more):
            if beta == 1.0:
                raise DivergedError("got q = nan")
            return 0.0

        return temperature.choose_beta(choices, 1.0, directory, trainer, told)

    monkeypatch.setattr("scoreregs_offline_rl.runs.pipeline.choose_beta", chosen)
    assert train(configuration(), tmp_path, stages=STAGES, data=data)["beta"] == 0.1
    assert load_json(tmp_path / "beta.json")["tried"][-1]["prior_error_excess"] is None


def test_a_critic_that_orders_nothing_has_the_smallest(data, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("scoreregs_offline_rl.runs.pipeline.return_order", lambda *its: 0.39)
    with caplog.at_level(logging.INFO):
        result = train(configuration(), tmp_path, stages=STAGES, data=data)
    assert result["beta"] == CHOICES[0]
    assert load_json(tmp_path / "beta.json")["tried"] == []
    assert "rank correlation of 0.39" in caplog.text


def test_another_may_be_given_before_policies_are_trained(data, tmp_path):
    train(configuration(), tmp_path, stages=STAGES[:3], data=data)
    assert train(configuration(0.7), tmp_path, stages=STAGES, data=data)["beta"] == 0.7


def test_a_new_run_keeps_what_its_settings_leave(data, tmp_path, excesses):
    train(configuration(), tmp_path / "old", stages=STAGES, data=data)
    longer = replace(configuration(), awr=AWRConfig(steps=3, batch_size=16, width=16))
    stages = (*STAGES, "awr")

    def refuse(stage, *step):
        assert stage == "awr"

    source = tmp_path / "old"
    train(longer, tmp_path / "new", stages=stages, data=data, source=source, progress=refuse)
    assert weights_of(tmp_path / "new") == weights_of(source)
    assert load_json(tmp_path / "new/config.json")["beta"] == 0.1
    other = replace(configuration(), critic=CriticConfig(steps=9, batch_size=16, width=16))
    excesses[1.0] = 0.0
    result = train(other, tmp_path / "other", stages=STAGES, data=data, source=source)
    assert result["beta"] == 1.0


def test_seeds_that_choose_belong_together(data, tmp_path, excesses, monkeypatch):
    """Whatever they chose."""
    config = replace(configuration(), evaluation=EvaluationConfig(episodes=0))
    for seed, said in enumerate((0.0, 0.5)):
        excesses[0.1] = said
        train(replace(config, seed=seed), tmp_path / str(seed), stages=STAGES, data=data)
    folders = [tmp_path / "0", tmp_path / "1"]
    assert [load_json(f / "config.json")["beta"] for f in folders] == [0.1, 0.01]
    assert [_chosen(folder) for folder in folders] == [{"beta": "chosen"}] * 2


def test_a_plan_counts_what_is_trained_at_most(data, tmp_path):
    plan = rehearse(configuration(), tmp_path / "new", stages=STAGES, data=data)
    given = rehearse(configuration(0.1), tmp_path / "new", stages=STAGES, data=data)
    policies = [p.stages[-1] for p in (plan, given)]
    assert [stage.steps for stage in policies] == [8, 8]
    assert [stage.times for stage in policies] == [3, 1]
    assert policies[0].seconds == pytest.approx(24 * policies[0].step_seconds)
    assert "3 x 8" in plan.table()
    assert not (tmp_path / "new").exists()


def test_a_sweep_has_its_own(data, tmp_path):
    grid = SweepGrid(seeds=(0,), betas=(0.2, 0.4))
    sweep(configuration(), tmp_path, grid=grid, stages=STAGES, data=data)
    members = load_json(tmp_path / "result.json")["members"]
    assert [member["beta"] for member in members.values()] == [0.2, 0.4]


def test_the_laptop_preset_chooses_unless_one_is_given():
    config = preset("my-robot.npz", "laptop")
    assert config.beta is None
    assert config.policy.beta_choices == (0.03, 0.1, 0.3)


@pytest.mark.parametrize("choices", [(0.1,), (0.2, 0.1), (0.1, 0.1), ()])
def test_choices_rise(choices):
    with pytest.raises(ArgumentError, match=r"policy\.beta_choices"):
        PolicyConfig(beta_choices=choices, start="cloning")


def test_without_a_clone_to_compare_with_there_is_no_choice(data, tmp_path):
    with pytest.raises(RunError, match=r"no temperature.*--beta"):
        train(configuration(start="random"), tmp_path, stages=STAGES, data=data)
    assert train(configuration(0.1, start="random"), tmp_path, stages=STAGES, data=data)


def test_beta_is_found_in_one_way():
    with pytest.raises(ArgumentError, match=r"beta_choices and policy\.prior_error_ratio"):
        PolicyConfig(beta_choices=CHOICES, prior_error_ratio=1.0)
