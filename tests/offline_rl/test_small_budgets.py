"""Critics and behavior models for minutes on a CPU: what they compute, and that they go on."""

import os
import signal
from dataclasses import replace
from typing import Any

import pytest
import torch

from scoreregs import EDMPrior, NetworkPrior, RectifiedFlowSchedule, VPSchedule
from scoreregs.errors import ArgumentError
from scoreregs.kernel import denoising_loss
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
from scoreregs_offline_rl.files import load_tensors
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.pipeline import Pipeline
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage, TwinValue
from scoreregs_offline_rl.stages.networks import EnsembleQ
from scoreregs_offline_rl.stages.small_network import SmallBehaviorNetwork
from tests.offline_rl.rl_data import ACTION, OBSERVATION, as_double, make_transitions
from tests.offline_rl.test_sweep import pipeline_parts

STAGES = ("critic", "behavior", "policy")
SMALL: dict[str, Any] = {"steps": 8, "batch_size": 16, "width": 16}
CRITICS: list[dict[str, Any]] = [
    {"layer_norm": True},
    {"members": 5, "rho": 0.5, "action_noise": 0.2, "layer_norm": True},
    {"members": 1, "warm_start": 0.75},
]
MODELS: list[dict[str, Any]] = [
    {"network": "small", "preconditioning": "edm", "dropout": 0.0},
    {"network": "small", "sampler": "log_snr", "schedule": "rectified_flow"},
    {"preconditioning": "edm", "average_rate": 0.1, "sampler": "log_normal"},
]


def configuration(critic: dict[str, Any], behavior: dict[str, Any]) -> TrainConfig:
    model: dict[str, Any] = SMALL | {"blocks": 1} | behavior
    return TrainConfig(
        data="made",
        beta=0.1,
        critic=CriticConfig(**SMALL | critic),
        behavior=BehaviorConfig(**model),
        policy=PolicyConfig(**SMALL),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=4, checkpoint_every=4, cpu=True),
    )


@pytest.mark.parametrize(("critic", "behavior"), list(zip(CRITICS, MODELS, strict=True)), ids=str)
def test_they_resume_to_the_bit(tmp_path, critic, behavior):
    data, config = make_transitions(200), configuration(critic, behavior)

    def stop(running, done, steps, metrics):
        if running in stopped and done == 5:
            stopped.remove(running)
            os.kill(os.getpid(), signal.SIGTERM)

    stopped: set[str] = set()
    train(config, tmp_path / "whole", stages=STAGES, data=data, progress=stop)
    stopped = {"critic", "behavior"}
    for _ in range(2):
        with pytest.raises(InterruptedRun):
            train(config, tmp_path / "cut", stages=STAGES, data=data, progress=stop)
    train(config, tmp_path / "cut", stages=STAGES, data=data, progress=stop)
    for stage in STAGES:
        files = [tmp_path / d / stage / "weights.safetensors" for d in ("whole", "cut")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert set(load_models(tmp_path / "cut").stages) == set(STAGES)


@pytest.mark.parametrize(("critic", "behavior"), list(zip(CRITICS, MODELS, strict=True)), ids=str)
def test_a_member_of_a_sweep_is_what_it_is_alone(tmp_path, critic, behavior):
    grid, config = SweepGrid(seeds=(0, 3), betas=(0.1,)), configuration(critic, behavior)
    torch.set_default_dtype(torch.float64)
    try:
        data, trainer = pipeline_parts(config, 0)
        Pipeline(config, data, trainer, RunDirectory(tmp_path / "sweep"), grid).run(STAGES)
        for index, its in enumerate(grid.configs(config)):
            data, trainer = pipeline_parts(its, its.seed)
            folder = tmp_path / grid.labels[index]
            Pipeline(its, data, trainer, RunDirectory(folder)).run(STAGES)
            for stage in STAGES:
                alone = load_tensors(folder / stage / "weights.safetensors")
                stacked = load_tensors(tmp_path / "sweep" / stage / "weights.safetensors")
                assert alone.keys() == stacked.keys()
                for name, value in alone.items():
                    torch.testing.assert_close(stacked[name][index], value, rtol=1e-6, atol=1e-9)
    finally:
        torch.set_default_dtype(torch.float32)


def test_an_ensemble_by_hand():
    torch.manual_seed(0)
    q = EnsembleQ(OBSERVATION, ACTION, width=8, members=5, layer_norm=True).double()
    batch = as_double(make_transitions().select(torch.arange(7)))
    rows = batch.actions, batch.observations
    values = torch.stack([value.detach() for value in q(*rows)])
    assert values.shape == (5, 7)
    torch.testing.assert_close(q.mean(*rows), values.mean(0))
    torch.testing.assert_close(q.minimum(*rows), values.min(0).values)
    expected = values.mean(0) - 0.5 * (values - values.mean(0)).square().mean(0).sqrt()
    torch.testing.assert_close(q.pessimistic(*rows, 0.5), expected)


def test_the_lower_bound_is_what_v_and_advantages_learn_from():
    torch.manual_seed(0)
    config = CriticConfig(width=8, members=4, rho=1.5, layers=1)
    stage = CriticStage(OBSERVATION, ACTION, config).double()
    batch = as_double(make_transitions().select(torch.arange(7)))
    rows = batch.actions, batch.observations
    bound = stage.critic.target_q.pessimistic(*rows, 1.5).detach()
    _, metrics = stage(batch, {})
    torch.testing.assert_close(metrics["q"], bound.mean())
    advantage = TwinValue(stage.critic).advantage(*rows)
    torch.testing.assert_close(advantage, bound - stage.critic.value(batch.observations).detach())


def test_noise_moves_the_actions_that_q_is_regressed_at_and_nothing_else():
    torch.manual_seed(0)
    stage = CriticStage(OBSERVATION, ACTION, CriticConfig(width=8, action_noise=0.2)).double()
    batch = as_double(make_transitions().select(torch.arange(7)))
    randoms = stage.draw(7, torch.Generator().manual_seed(0))
    noise = randoms["noise"].double()
    assert noise.shape == batch.actions.shape
    _, metrics = stage(batch, {"noise": noise})
    moved = replace(batch, actions=(batch.actions + 0.2 * noise).clamp(-1, 1))
    torch.testing.assert_close(metrics["q_loss"], stage(moved, {})[1]["q_loss"])
    torch.testing.assert_close(metrics["value_loss"], stage(batch, {})[1]["value_loss"])


@pytest.mark.parametrize("schedule", ["vp", "rectified_flow"])
def test_a_preconditioned_model_is_trained_as_the_core_says(schedule):
    config = BehaviorConfig(
        network="small", preconditioning="edm", width=16, schedule=schedule, dropout=0.0
    )
    stage = BehaviorStage(OBSERVATION, ACTION, config)
    batch = make_transitions().select(torch.arange(9))
    randoms = stage.draw(9, torch.Generator().manual_seed(0))
    assert set(randoms) == {"t", "noise"}
    of = {"vp": VPSchedule, "rectified_flow": RectifiedFlowSchedule}[schedule]()
    prior = EDMPrior(stage.network, of)
    rows = batch.actions, batch.observations, randoms["t"], randoms["noise"]
    torch.testing.assert_close(stage(batch, randoms)[0], denoising_loss(prior, *rows).mean())
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    found = stage.prior.epsilon(batch.actions[:2], t, batch.observations[:2])
    assert bool(found.isfinite().all())


def test_a_small_network_is_told_the_log_snr():
    told: list[torch.Tensor] = []
    stage = BehaviorStage(OBSERVATION, ACTION, BehaviorConfig(network="small", width=16))
    assert isinstance(stage.network, SmallBehaviorNetwork)
    stage.network.register_forward_pre_hook(lambda module, inputs: told.append(inputs[1]))
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    stage.prior.epsilon(torch.zeros(2, ACTION), t, torch.zeros(2, OBSERVATION))
    alpha, sigma = VPSchedule()(t)
    torch.testing.assert_close(told[0].double(), torch.log(sigma / alpha) / 4, atol=1e-6, rtol=1e-5)


def test_the_average_is_the_prior():
    config = BehaviorConfig(network="small", width=8, blocks=1, average_rate=0.25)
    stage = BehaviorStage(OBSERVATION, ACTION, config)
    before = {name: value.clone() for name, value in stage.average.named_parameters()}
    with torch.no_grad():
        for parameter in stage.network.parameters():
            parameter.add_(1.0)
    stage.after_step()
    for name, value in stage.average.named_parameters():
        torch.testing.assert_close(value, before[name] + 0.25)
    assert isinstance(stage.prior, NetworkPrior)
    assert stage.prior.network is stage.average


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    data = make_transitions(200)
    train(configuration({}, MODELS[0]), tmp_path / "edm", stages=("behavior",), data=data)
    config = configuration({}, {"network": "small", "weights": str(tmp_path / "edm")})
    with pytest.raises(RunError, match=r"weights of preconditioning 'edm'.*expected 'none'"):
        train(config, tmp_path / "other", stages=("behavior",), data=data)


def test_settings_that_say_two_things_are_refused():
    with pytest.raises(ArgumentError, match="prediction"):
        BehaviorConfig(preconditioning="edm", prediction="v_prediction")
    with pytest.raises(ArgumentError, match=r"beta_from and policy\.prior_error_ratio"):
        PolicyConfig(beta_from=3.0, prior_error_ratio=1.0)
    with pytest.raises(ArgumentError, match=r"warm_start = 1\.5, expected .* in \[0, 1\]"):
        CriticConfig(warm_start=1.5)
    with pytest.raises(ArgumentError, match="rho"):
        CriticConfig(rho=-1.0)
