"""Implicit Q-learning against its formulas written by hand."""

import copy
from dataclasses import replace

import pytest
import torch

from scoreregs_offline_rl import CriticConfig
from scoreregs_offline_rl.stages.critic import Critic, CriticStage, expectile_loss
from scoreregs_offline_rl.stages.networks import EnsembleQ, ValueNetwork
from tests.offline_rl.rl_data import ACTION, OBSERVATION, as_double, make_transitions, rows_of

CONFIG = CriticConfig(width=16, expectile=0.8, discount=0.9, target_rate=0.25)


@pytest.fixture
def batch():
    return as_double(make_transitions().select(torch.arange(40)))


@pytest.fixture
def stage():
    torch.manual_seed(0)
    stage = CriticStage(OBSERVATION, ACTION, CONFIG).double()
    with torch.no_grad():
        for parameter in stage.critic.target_q.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return stage


def by_hand(critic, batch):
    """(V loss, Q loss), row by row."""
    value_loss = q_loss = torch.zeros(())
    rows = len(batch.rewards)
    value = critic.value(batch.observations)
    next_value = critic.value(batch.next_observations).detach()
    target_1, target_2 = critic.target_q(batch.actions, batch.observations)
    q1, q2 = critic.q(batch.actions, batch.observations)
    for i in range(rows):
        u = torch.min(target_1[i], target_2[i]).detach() - value[i]
        value_loss = value_loss + (CONFIG.expectile if u >= 0 else 1 - CONFIG.expectile) * u**2
        y = batch.rewards[i]
        if not batch.terminals[i]:
            y = y + CONFIG.discount * next_value[i]
        q_loss = q_loss + ((q1[i] - y) ** 2 + (q2[i] - y) ** 2) / 2
    return value_loss / rows, q_loss / rows


def gradients(module, loss):
    module.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_losses_and_gradients(stage, batch):
    loss, metrics = stage(batch, {})
    value_loss, q_loss = by_hand(stage.critic, batch)
    torch.testing.assert_close(metrics["value_loss"], value_loss.detach())
    torch.testing.assert_close(metrics["q_loss"], q_loss.detach())
    actual = gradients(stage, loss)
    for name, gradient in gradients(stage, value_loss + q_loss).items():
        torch.testing.assert_close(actual[name], gradient)
    assert not any("target" in name for name in actual)


def test_each_loss_has_its_own_parameters(stage, batch):
    value_loss, q_loss = by_hand(stage.critic, batch)
    assert all(".value." in name for name in gradients(stage, value_loss))
    assert all(".q." in name for name in gradients(stage, q_loss))


def test_a_step_uses_the_value_of_before_it(stage, batch):
    """Two separate optimisers, fed with losses taken before either steps, end in the same place."""
    reference = copy.deepcopy(stage.critic)
    value_loss, q_loss = by_hand(reference, batch)
    for loss, module in ((value_loss, reference.value), (q_loss, reference.q)):
        optimizer = torch.optim.Adam(module.parameters(), lr=CONFIG.learning_rate)
        loss.backward()
        optimizer.step()
    optimizer, scheduler = stage.optimizer()
    assert scheduler is None
    stage(batch, {})[0].backward()
    optimizer.step()
    torch.testing.assert_close(stage.critic.state_dict(), reference.state_dict())


def test_terminal_rows_do_not_bootstrap_and_cut_rows_do(stage, batch):
    ends = make_transitions().ends[:40]
    cut = ends & ~batch.terminals
    assert batch.terminals.any()
    assert cut.any()

    def loss(rows):
        """The Q loss after s' of some rows moved."""
        moved = batch.next_observations.clone()
        moved[rows] += 10
        return stage(replace(batch, next_observations=moved), {})[1]["q_loss"]

    unmoved = stage(batch, {})[1]["q_loss"]
    assert loss(batch.terminals).equal(unmoved)
    assert not loss(cut).equal(unmoved)


def test_polyak_direction():
    critic = Critic(EnsembleQ(4, 2, width=8), ValueNetwork(4, width=8))
    with torch.no_grad():
        for source, target in zip(critic.q.parameters(), critic.target_q.parameters(), strict=True):
            source.fill_(1.0)
            target.fill_(0.0)
    critic.update_target(0.25)
    for source, target in zip(critic.q.parameters(), critic.target_q.parameters(), strict=True):
        assert (target == 0.25).all()
        assert (source == 1.0).all()


def test_the_stage_averages_after_a_step(stage, batch):
    before = copy.deepcopy(stage.critic)
    optimizer, _ = stage.optimizer()
    stage(batch, {})[0].backward()
    optimizer.step()
    torch.testing.assert_close(stage.critic.target_q.state_dict(), before.target_q.state_dict())
    stage.after_step()
    new = dict(stage.critic.q.named_parameters())
    for name, target in before.target_q.named_parameters():
        expected = 0.75 * target + 0.25 * new[name]
        torch.testing.assert_close(stage.critic.target_q.get_parameter(name), expected)


def test_the_average_starts_at_the_twins():
    critic = CriticStage(OBSERVATION, ACTION, CriticConfig()).critic
    torch.testing.assert_close(critic.target_q.state_dict(), critic.q.state_dict(), rtol=0, atol=0)


def test_the_expectile_minimises():
    """The minimiser of the loss over {0, 1} is the expectile itself."""
    sample = torch.tensor([0.0, 1.0], dtype=torch.float64)
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)
    losses = expectile_loss(sample[None] - grid[:, None], 0.7).mean(1)
    assert grid[losses.argmin()].item() == pytest.approx(0.7)


def test_slices_add_up(stage, batch):
    full = gradients(stage, stage(batch, {})[0])
    halves = [gradients(stage, stage(rows_of(batch, half), {})[0]) for half in HALVES]
    for name, gradient in full.items():
        torch.testing.assert_close((halves[0][name] + halves[1][name]) / 2, gradient)


HALVES = (slice(0, 20), slice(20, 40))


def test_defaults_are_the_papers():
    config = CriticConfig()
    assert (config.steps, config.batch_size, config.learning_rate) == (1_500_000, 256, 3e-4)
    assert (config.expectile, config.discount, config.target_rate) == (0.7, 0.99, 0.005)
