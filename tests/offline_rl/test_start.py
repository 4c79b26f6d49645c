"""A policy that starts from a clone, and the data's own actions beside the prior."""

from dataclasses import replace

import pytest
import torch

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import (
    BehaviorConfig,
    CloningConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    RunError,
    SweepGrid,
    TrainConfig,
    TrainerConfig,
    sweep,
    train,
)
from scoreregs_offline_rl.files import load_tensors
from tests.offline_rl.rl_data import as_double, make_transitions
from tests.offline_rl.test_policy import draw, gradients, make_stage


def configuration(**policy):
    settings = {"steps": 4, "batch_size": 32, "width": 16, "start": "cloning", "policies": 2}
    return TrainConfig(
        data="made",
        beta=0.1,
        critic=CriticConfig(steps=4, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=4, batch_size=32, width=16, blocks=1),
        cloning=CloningConfig(steps=8, policies=2, batch_size=32),
        policy=PolicyConfig(**settings | policy),  # pyright: ignore[reportArgumentType]
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=4, checkpoint_every=4, cpu=True),
    )


def distances(run_dir, members):
    """How far each policy is from the clone that it started from, by the largest weight."""
    names = ("policy", "cloning")
    policies, clones = (load_tensors(run_dir / name / "weights.safetensors") for name in names)
    return [
        max(
            float((policies[name][index] - clones[name][clone]).abs().max())
            for name in policies
            if name.startswith("policy.")
        )
        for index, clone in members
    ]


def test_each_policy_starts_from_its_clone(tmp_path):
    data = make_transitions(400)
    config = configuration(steps=1, learning_rate=1e-4)
    result = train(config, tmp_path, data=data)
    assert set(result["stages"]) == {"critic", "behavior", "cloning", "awr", "policy"}
    near, far = distances(tmp_path, [(0, 0), (1, 1)]), distances(tmp_path, [(0, 1), (1, 0)])
    # A step of Adam moves a weight by at most the learning rate.
    assert max(near) <= 1.1e-4
    assert min(far) > 1e-2


def test_so_do_those_of_a_sweep(tmp_path):
    grid = SweepGrid(seeds=(0, 3), betas=(0.1, 0.5))
    config = configuration(steps=1, learning_rate=1e-4)
    sweep(config, tmp_path, grid=grid, data=make_transitions(400))
    # Members are seeds first, then policies, then temperatures.
    started = [(index, index // 2) for index in range(8)]
    assert max(distances(tmp_path, started)) <= 1.1e-4


def test_the_clone_has_to_be_there(tmp_path):
    stages = ("critic", "behavior", "policy")
    with pytest.raises(RunError, match="policy stage, which needs a finished cloning"):
        train(configuration(), tmp_path, stages=stages, data=make_transitions(400))


def test_the_data_pulls_by_its_weight():
    """Its gradient is the weight times the distance, beside that of Eq. 15."""
    batch = as_double(make_transitions().select(torch.arange(20)))
    stage, _, _ = make_stage(PolicyConfig(data_weight=0.7))
    randoms = draw(stage)
    actual = gradients(stage, stage(batch, randoms)[0])
    stage.config = replace(stage.config, data_weight=0.0)
    expected = gradients(stage, stage(batch, randoms)[0])
    stage.zero_grad()
    action = stage.policy(batch.observations)
    action.backward(0.7 * (action.detach() - batch.actions) / 20)
    for name, parameter in stage.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(actual[name], expected[name] + parameter.grad)
    with pytest.raises(ArgumentError, match="data_weight"):
        PolicyConfig(data_weight=-1.0)
