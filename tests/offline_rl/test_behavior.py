"""Denoising score matching of the behavior model, Eq. 13 written by hand."""

import math

import pytest
import torch

from scoreregs_offline_rl import BehaviorConfig
from scoreregs_offline_rl.randoms import generator_for
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from tests.offline_rl.rl_data import ACTION, OBSERVATION, as_double, make_transitions, rows_of

CONFIG = BehaviorConfig(width=16, blocks=2, dropout=0.25)


@pytest.fixture
def batch():
    return as_double(make_transitions().select(torch.arange(40)))


@pytest.fixture
def stage():
    torch.manual_seed(0)
    return BehaviorStage(OBSERVATION, ACTION, CONFIG).double()


@pytest.fixture
def randoms(stage):
    drawn = stage.draw(40, generator_for(0, "behavior", 0))
    return {name: rows.double() for name, rows in drawn.items()}


def by_hand(network, batch, randoms):
    t, noise = randoms["t"], randoms["noise"]
    total = torch.zeros(())
    for i in range(len(t)):
        log_alpha = -(t[i] ** 2) * (20 - 0.1) / 4 - t[i] * 0.1 / 2
        alpha, sigma = torch.exp(log_alpha), math.sqrt(1 - torch.exp(2 * log_alpha).item())
        row = slice(i, i + 1)
        noisy = alpha * batch.actions[row] + sigma * noise[row]
        masks = randoms["dropout_masks"][row]
        output = network(noisy, t[row], batch.observations[row], masks)
        total = total + ((output - noise[row]) ** 2).sum()
    return total / len(t)


def gradients(module, loss):
    module.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in module.named_parameters()}


def test_loss_and_gradients(stage, batch, randoms):
    loss, metrics = stage(batch, randoms)
    expected = by_hand(stage.network, batch, randoms)
    torch.testing.assert_close(loss, expected)
    assert metrics["loss"].item() == loss.item()
    actual = gradients(stage, loss)
    for name, gradient in gradients(stage, expected).items():
        torch.testing.assert_close(actual[name], gradient)


def test_what_is_drawn(stage):
    rows = 4000
    randoms = stage.draw(rows, generator_for(0, "behavior", 0))
    t, noise, masks = randoms["t"], randoms["noise"], randoms["dropout_masks"]
    assert t.shape == (rows,)
    assert noise.shape == (rows, ACTION)
    assert masks.shape == (rows, 2, 16)
    assert t.min() >= 1e-3
    assert t.min() < 5e-3
    assert t.max() > 0.99
    assert t.mean().item() == pytest.approx(0.5, abs=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.05)
    assert noise.std().item() == pytest.approx(1, abs=0.05)
    assert set(masks.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (masks == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_without_dropout_no_masks():
    stage = BehaviorStage(OBSERVATION, ACTION, BehaviorConfig(width=16, dropout=0.0))
    assert set(stage.draw(8, generator_for(0, "behavior", 0))) == {"t", "noise"}


def test_slices_add_up(stage, batch, randoms):
    full = gradients(stage, stage(batch, randoms)[0])
    total = {name: torch.zeros_like(gradient) for name, gradient in full.items()}
    for half in (slice(0, 20), slice(20, 40)):
        part = {name: rows[half] for name, rows in randoms.items()}
        for name, gradient in gradients(stage, stage(rows_of(batch, half), part)[0]).items():
            total[name] += gradient / 2
    torch.testing.assert_close(total, full)


def test_optimizer_and_defaults():
    stage = BehaviorStage(OBSERVATION, ACTION, BehaviorConfig())
    optimizer, scheduler = stage.optimizer()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert scheduler is None
    assert optimizer.defaults["lr"] == 3e-4
    assert optimizer.defaults["weight_decay"] == 0.01
    config = BehaviorConfig()
    assert (config.steps, config.batch_size, config.first_time) == (2_000_000, 2048, 1e-3)
    assert (config.dropout, config.blocks, config.width) == (0.1, 3, 256)


def test_the_prior_drops_nothing(stage):
    prior = stage.prior
    x, t, s = torch.randn(5, ACTION).double(), torch.rand(5), torch.randn(5, OBSERVATION).double()
    torch.testing.assert_close(prior.epsilon(x, t, s), stage.network(x, t, s).detach())


def test_it_learns_a_gaussian():
    """Actions N(.5, .2^2) given anything: the loss falls to that of the exact denoiser."""
    torch.manual_seed(0)
    stage = BehaviorStage(OBSERVATION, ACTION, BehaviorConfig(width=32, blocks=1, dropout=0.0))
    optimizer, _ = stage.optimizer()
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    data = make_transitions(600)
    losses = []
    for step in range(300):
        generator = generator_for(0, "test", step)
        batch = data.select(torch.randperm(600, generator=generator)[:256])
        batch.actions.copy_(0.5 + 0.2 * torch.randn(256, ACTION, generator=generator))
        loss, _ = stage(batch, stage.draw(256, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    t = torch.linspace(1e-3, 1, 2001, dtype=torch.float64)
    alpha2 = torch.exp(-(t**2) * 19.9 / 2 - t * 0.1)
    exact = ACTION * (0.04 * alpha2 / (0.04 * alpha2 + 1 - alpha2)).mean().item()
    assert sum(losses[-50:]) / 50 == pytest.approx(exact, abs=0.15)
