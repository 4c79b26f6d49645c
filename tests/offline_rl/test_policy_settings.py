"""Every name of the core can be set for the policy: it trains, resumes to the bit, and is swept."""

import os
import signal
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from scoreregs.baselines import BaselineName
from scoreregs.errors import ArgumentError
from scoreregs.predictions import PredictionName
from scoreregs.times import PointsName, TimesName
from scoreregs.weightings import WeightingName
from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    InterruptedRun,
    PolicyConfig,
    RunError,
    SweepGrid,
    TrainConfig,
    TrainerConfig,
    load_models,
    train,
)
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.files import load_json, load_tensors
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.pipeline import Pipeline
from tests.offline_rl.rl_data import make_transitions
from tests.offline_rl.test_sweep import pipeline_parts

STAGES = ("critic", "behavior", "policy")
SMALL: dict[str, Any] = {"steps": 12, "batch_size": 16, "width": 16}
SETTINGS = [
    *({"weighting": name} for name in get_args(WeightingName)),
    *({"baseline": name} for name in get_args(BaselineName)),
    *({"points": name, "draws": 2} for name in get_args(PointsName)),
    *({"sampler": name, "baseline": "optimal_noise"} for name in get_args(TimesName)),
    {"sampler": "adaptive", "draws": 3, "points": "low_discrepancy", "weighting": "uniform"},
    {"log_snr": (-3.0, 3.0), "through_prior": True},
    {"sampler": "log_snr", "log_snr": (-3.0, 3.0)},
    {"beta_from": 30.0},
    {"prior_error_ratio": 1.2, "draws": 2},
]


def configuration(behavior: Any = None, **policy: Any):
    return TrainConfig(
        data="made",
        beta=0.1,
        critic=CriticConfig(steps=4, batch_size=16, width=16),
        behavior=BehaviorConfig(steps=4, batch_size=16, width=16, blocks=1, **(behavior or {})),
        policy=PolicyConfig(**SMALL | policy),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=4, checkpoint_every=4, cpu=True),
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A finished critic and behavior model that all policies here share."""
    run_dir = tmp_path_factory.mktemp("models")
    train(configuration(), run_dir, stages=("critic", "behavior"), data=make_transitions(200))
    return run_dir


def with_models(models, **policy):
    config, source = configuration(**policy), str(models)
    return replace(
        config,
        critic=replace(config.critic, weights=source),
        behavior=replace(config.behavior, weights=source),
    )


@pytest.mark.parametrize("policy", SETTINGS, ids=str)
def test_it_resumes_to_the_bit(models, tmp_path, policy):
    data, config = make_transitions(200), with_models(models, **policy)

    def stop(running, done, steps, metrics):
        if (running, done) == ("policy", 7):
            os.kill(os.getpid(), signal.SIGTERM)

    train(config, tmp_path / "whole", stages=("policy",), data=data)
    with pytest.raises(InterruptedRun):
        train(config, tmp_path / "cut", stages=("policy",), data=data, progress=stop)
    train(config, tmp_path / "cut", stages=("policy",), data=data)
    files = [tmp_path / d / "policy/weights.safetensors" for d in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "policy",
    [
        {"baseline": "optimal_noise", "draws": 2},
        {"sampler": "adaptive"},
        {"sampler": "adaptive", "baseline": "optimal_noise", "draws": 3, "points": "stratified"},
        {"weighting": "dmd", "normalize": "rms", "beta_on": "value"},
        {"through_prior": True, "draws": 2},
        {"sampler": "importance", "log_snr": (-4.0, 4.0), "points": "low_discrepancy"},
        {"beta_from": 30.0, "normalize": "batch", "beta_on": "value"},
        {"prior_error_ratio": 1.2, "draws": 2},
    ],
    ids=str,
)
def test_a_member_of_a_sweep_is_what_it_is_alone(tmp_path, policy):
    """Also in what its plug-ins remember."""
    grid = SweepGrid(seeds=(0, 3), betas=(0.1, 0.5))
    config = configuration(**policy)
    torch.set_default_dtype(torch.float64)
    try:
        data, trainer = pipeline_parts(config, 0)
        Pipeline(config, data, trainer, RunDirectory(tmp_path / "sweep"), grid).run(STAGES)
        stacked = load_tensors(tmp_path / "sweep/policy/weights.safetensors")
        # Of another seed and another temperature than the first.
        its = grid.configs(config)[-1]
        data, trainer = pipeline_parts(its, its.seed)
        Pipeline(its, data, trainer, RunDirectory(tmp_path / "alone")).run(STAGES)
        alone = load_tensors(tmp_path / "alone/policy/weights.safetensors")
        assert alone.keys() == stacked.keys()
        for name, value in alone.items():
            torch.testing.assert_close(stacked[name][-1], value, rtol=1e-6, atol=1e-9)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_range_of_log_snr_is_what_it_says():
    from tests.offline_rl.test_policy import make_stage

    stage, _, _ = make_stage(PolicyConfig(log_snr=(-2.0, 1.0)))
    times, schedule = stage.objective.times, stage.objective.prior.schedule
    ends = schedule.log_snr(torch.tensor([times.low, times.high], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([1.0, -2.0], dtype=torch.float64))


def test_settings_that_do_not_go_together_are_refused(models, tmp_path):
    config = with_models(models, sampler="adaptive", weighting="dmd")
    with pytest.raises(ArgumentError, match="without a weighting of the noise level alone"):
        train(config, tmp_path, stages=("policy",), data=make_transitions(200))
    config = with_models(models, through_prior=True, baseline="none")
    with pytest.raises(ArgumentError, match="through_prior=True with NoBaseline"):
        train(config, tmp_path, stages=("policy",), data=make_transitions(200))
    with pytest.raises(ArgumentError, match=r"policy\.log_snr"):
        PolicyConfig(log_snr=(2.0, 1.0))


@pytest.mark.parametrize("prediction", get_args(PredictionName))
@pytest.mark.parametrize("schedule", ["vp", "cosine", "rectified_flow"])
def test_behavior_models_of_every_prediction_and_schedule(tmp_path, prediction, schedule):
    """The model that crosses to the policy is what was trained: its error falls alike in all."""
    settings = {"prediction": prediction, "schedule": schedule, "dropout": 0.0}
    if prediction == "sample":
        settings["first_time"] = 0.01
    config = configuration(settings)
    train(config, tmp_path, data=make_transitions(200), stages=STAGES)
    prior = load_models(tmp_path).prior
    assert (prior.prediction.name, load_models(tmp_path).config.behavior.schedule) == (
        prediction,
        schedule,
    )


def test_weights_of_another_prediction_are_refused_by_name(models, tmp_path):
    data = make_transitions(200)
    config = configuration({"prediction": "v_prediction"})
    config = replace(config, behavior=replace(config.behavior, weights=str(models)))
    with pytest.raises(RunError, match=r"weights of prediction 'epsilon'.*expected 'v_prediction'"):
        train(config, tmp_path / "other", stages=("behavior",), data=data)
    config = configuration({"schedule": "cosine"})
    config = replace(config, behavior=replace(config.behavior, weights=str(models)))
    with pytest.raises(RunError, match=r"weights of schedule 'vp'.*expected 'cosine'"):
        train(config, tmp_path / "another", stages=("behavior",), data=data)
    report = load_json(models / "behavior/report.json")
    assert report["identity"] == {
        "schedule": "vp",
        "prediction": "epsilon",
        "preconditioning": "none",
        "network": "paper",
    }


def test_from_the_command_line(tmp_path, capsys):
    words = [
        "train",
        "--preset",
        "paper",
        "--data",
        "pendulum-swingup",
        "--run-dir",
        str(tmp_path),
        "--beta",
        "0.1",
    ]
    words += ["--policy.sampler", "adaptive", "--policy.baseline", "optimal_noise"]
    words += ["--policy.log-snr", "-4", "4", "--policy.weighting", "min_snr", "--show-config"]
    assert main([*words, "--behavior.prediction", "v_prediction"]) == 0
    shown = capsys.readouterr().out
    assert '"sampler": "adaptive"' in shown
    assert '"prediction": "v_prediction"' in shown
