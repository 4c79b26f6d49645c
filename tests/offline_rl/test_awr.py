"""Advantage-weighted regression against its formula written by hand."""

import math

import pytest
import torch

from scoreregs_offline_rl import AWRConfig
from scoreregs_offline_rl.stages.awr import AWRStage
from scoreregs_offline_rl.stages.critic import Critic, TwinValue
from scoreregs_offline_rl.stages.networks import DiracPolicy, EnsembleQ, ValueNetwork
from scoreregs_offline_rl.stages.stage import Given
from tests.offline_rl.rl_data import ACTION, OBSERVATION, as_double, make_transitions, rows_of

CONFIG = AWRConfig(steps=10, advantage_scale=30.0, clip=20.0)


@pytest.fixture
def batch():
    return as_double(make_transitions().select(torch.arange(40)))


@pytest.fixture
def critic():
    torch.manual_seed(0)
    critic = Critic(EnsembleQ(OBSERVATION, ACTION, width=16), ValueNetwork(OBSERVATION)).double()
    with torch.no_grad():
        for parameter in critic.target_q.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return critic


@pytest.fixture
def stage(critic):
    return AWRStage(
        DiracPolicy(OBSERVATION, ACTION, width=16).double(), CONFIG, Given(TwinValue(critic))
    )


def by_hand(policy, critic, batch):
    total, clipped = torch.zeros(()), 0
    for i in range(len(batch.rewards)):
        s, a = batch.observations[i : i + 1], batch.actions[i : i + 1]
        q1, q2 = critic.target_q(a, s)
        advantage = min(q1.item(), q2.item()) - critic.value(s).item()
        weight = math.exp(CONFIG.advantage_scale * advantage)
        clipped += weight > CONFIG.clip
        total = total + min(weight, CONFIG.clip) * (policy(s) - a).square().sum()
    return total / len(batch.rewards), clipped


def gradients(stage, loss):
    stage.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in stage.named_parameters()}


def test_loss_and_gradients(stage, critic, batch):
    loss, _ = stage(batch, {})
    expected, clipped = by_hand(stage.policy, critic, batch)
    assert 0 < clipped < 40
    torch.testing.assert_close(loss, expected)
    actual = gradients(stage, loss)
    torch.testing.assert_close(actual, gradients(stage, expected))


def test_the_critic_is_left_alone(stage, critic, batch):
    stage(batch, {})[0].backward()
    assert all(parameter.grad is None for parameter in critic.parameters())
    assert all(name.startswith("policy.") for name in stage.state_dict())
    assert {id(p) for p in stage.parameters()} == {id(p) for p in stage.policy.parameters()}


def test_slices_add_up(stage, batch):
    full = gradients(stage, stage(batch, {})[0])
    total = {name: torch.zeros_like(gradient) for name, gradient in full.items()}
    for half in (slice(0, 20), slice(20, 40)):
        for name, gradient in gradients(stage, stage(rows_of(batch, half), {})[0]).items():
            total[name] += gradient / 2
    torch.testing.assert_close(total, full)


def test_optimizer_decays_to_zero(stage):
    optimizer, scheduler = stage.optimizer()
    for _ in range(10):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_defaults():
    config = AWRConfig()
    assert (config.steps, config.batch_size, config.learning_rate) == (None, 256, 3e-4)
    assert (config.advantage_scale, config.clip) == (3.0, 100.0)


def test_at_scale_zero_it_is_cloning(critic, batch):
    policy = DiracPolicy(OBSERVATION, ACTION, width=16).double()
    stage = AWRStage(policy, AWRConfig(advantage_scale=0.0), Given(TwinValue(critic)))
    loss, _ = stage(batch, {})
    torch.testing.assert_close(
        loss, (policy(batch.observations) - batch.actions).square().sum(-1).mean()
    )
