"""Eq. 15 written by hand, and what the policy stage must leave alone."""

import copy
import math

import pytest
import torch

from scoreregs_offline_rl import PolicyConfig
from scoreregs_offline_rl.randoms import generator_for
from scoreregs_offline_rl.stages.critic import Critic, TwinValue
from scoreregs_offline_rl.stages.networks import (
    BehaviorNetwork,
    DiracPolicy,
    EnsembleQ,
    ValueNetwork,
)
from scoreregs_offline_rl.stages.policy import PolicyStage
from tests.offline_rl.rl_data import (
    ACTION,
    OBSERVATION,
    as_double,
    make_transitions,
    noise_prior,
    rows_of,
)

BETA = 0.3


def make_stage(config=None):
    torch.manual_seed(0)
    critic = Critic(EnsembleQ(OBSERVATION, ACTION, width=16), ValueNetwork(OBSERVATION)).double()
    with torch.no_grad():
        for parameter in critic.target_q.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    behavior = BehaviorNetwork(OBSERVATION, ACTION, width=16).double()
    policy = DiracPolicy(OBSERVATION, ACTION, width=16).double()
    config = config or PolicyConfig()
    value, prior = TwinValue(critic), noise_prior(behavior)
    return PolicyStage(policy, value, prior, config, beta=BETA), critic, behavior


@pytest.fixture
def batch():
    return as_double(make_transitions().select(torch.arange(20)))


def draw(stage, rows=20):
    drawn = stage.draw(rows, generator_for(0, "policy", 0))
    return {name: tensor.double() for name, tensor in drawn.items()}


def gradients(stage, loss):
    stage.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in stage.named_parameters()}


def bracket(stage, critic, behavior, batch, randoms, config):
    """The bracket of Eq. 15, or beta times it for beta on the value, row by row."""
    rows = []
    for i in range(len(batch.rewards)):
        s = batch.observations[i : i + 1]
        a = stage.policy(s).detach().requires_grad_()
        q1, q2 = critic.target_q(a, s)
        g = torch.autograd.grad((q1 + q2).sum() / 2, a)[0]
        t, noise = randoms["t"][i, 0], randoms["noise"][i, 0]
        log_alpha = -0.25 * t.item() ** 2 * (20 - 0.1) - 0.5 * t.item() * 0.1
        alpha, sigma = math.exp(log_alpha), math.sqrt(1 - math.exp(2 * log_alpha))
        with torch.no_grad():
            epsilon = behavior(alpha * a + sigma * noise, t[None], s)
        weight = {"sigma2": sigma**2, "uniform": 1.0}[config.weighting]
        r = weight * (epsilon - (noise if config.baseline == "noise" else 0))
        norm = {None: 1.0, "l2": g.norm(), "rms": g.square().mean().sqrt()}[config.normalize]
        prior_scale, value_scale = (norm / BETA, 1.0), (1.0, BETA / norm)
        on_prior, on_value = prior_scale if config.beta_on == "prior" else value_scale
        rows.append(on_value * g - on_prior * r)
    return torch.cat(rows)


@pytest.mark.parametrize(
    "config",
    [
        PolicyConfig(),
        PolicyConfig(beta_on="value", baseline="none"),
        PolicyConfig(normalize="l2", weighting="uniform"),
        PolicyConfig(normalize="rms", beta_on="value"),
    ],
)
def test_gradient_is_eq_15(batch, config):
    stage, critic, behavior = make_stage(config)
    randoms = draw(stage)
    expected = bracket(stage, critic, behavior, batch, randoms, config)
    actual = gradients(stage, stage(batch, randoms)[0])
    stage.zero_grad()
    stage.policy(batch.observations).backward(-expected / len(expected))
    for name, parameter in stage.named_parameters():
        torch.testing.assert_close(actual[name], parameter.grad)


def test_through_the_prior_it_is_the_gradient_of_the_denoising_loss(batch):
    """By autograd as a whole, where Eq. 15 drops the Jacobian."""
    stage, critic, behavior = make_stage(PolicyConfig(through_prior=True))
    randoms = draw(stage)
    actual = gradients(stage, stage(batch, randoms)[0])
    s, t, noise = batch.observations, randoms["t"][:, 0], randoms["noise"][:, 0]
    a = stage.policy(s)
    log_alpha = -0.25 * t.square() * (20 - 0.1) - 0.5 * t * 0.1
    alpha, sigma = log_alpha.exp(), (1 - (2 * log_alpha).exp()).sqrt()
    epsilon = behavior(alpha[:, None] * a + sigma[:, None] * noise, t, s)
    error = (epsilon - noise).square().sum(-1) / 2
    q1, q2 = critic.target_q(a, s)
    # w = sigma^2, and d x_t / d x = alpha where Eq. 15 has sigma.
    loss = (sigma**3 / alpha * error / BETA - (q1 + q2) / 2).mean()
    expected = gradients(stage, loss)
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient)


def test_critic_and_behavior_are_left_alone(batch):
    stage, critic, behavior = make_stage()
    behavior.train()
    before = copy.deepcopy(critic.state_dict()), copy.deepcopy(behavior.state_dict())
    optimizer, _ = stage.optimizer()
    stage(batch, draw(stage))[0].backward()
    optimizer.step()
    stage.after_step()
    torch.testing.assert_close(critic.state_dict(), before[0], rtol=0, atol=0)
    torch.testing.assert_close(behavior.state_dict(), before[1], rtol=0, atol=0)
    for module in (critic, behavior):
        assert all(parameter.grad is None for parameter in module.parameters())
    assert behavior.training
    assert all(name.startswith("policy.") for name in stage.state_dict())
    owned = {id(p) for p in stage.parameters()}
    assert owned == {id(p) for p in stage.policy.parameters()}


def test_metrics(batch):
    stage, critic, _ = make_stage()
    metrics = stage(batch, draw(stage))[1]
    q = critic.target_q.mean(stage.policy(batch.observations), batch.observations).mean()
    torch.testing.assert_close(metrics["q"], q.detach())
    assert not any(metric.requires_grad for metric in metrics.values())


def test_what_is_drawn():
    stage, _, _ = make_stage(PolicyConfig(times=(0.1, 0.4)))
    randoms = draw(stage, 2000)
    assert randoms["noise"].shape == (2000, 1, ACTION)
    assert 0.1 <= randoms["t"].min() < 0.11 < 0.39 < randoms["t"].max() <= 0.4


def test_several_draws_are_averaged(batch):
    stage, _, _ = make_stage(PolicyConfig(draws=3))
    randoms = draw(stage)
    assert randoms["t"].shape == (20, 3)
    together = gradients(stage, stage(batch, randoms)[0])
    mean = {name: torch.zeros_like(gradient) for name, gradient in together.items()}
    for k in range(3):
        one = {name: rows[:, k : k + 1] for name, rows in randoms.items()}
        for name, gradient in gradients(stage, stage(batch, one)[0]).items():
            mean[name] += gradient / 3
    torch.testing.assert_close(together, mean)


def test_even_points_leave_no_gaps():
    stage, _, _ = make_stage(
        PolicyConfig(times=(0.0, 1.0), points="stratified", weighting="uniform")
    )
    t = draw(stage, 2000)["t"].flatten()
    counts = torch.histc(t, 100, 0.0, 1.0)
    assert counts.max() - counts.min() <= 8
    assert torch.histc(torch.rand(2000), 100, 0.0, 1.0).std() > 2 * counts.std()


def test_learning_rate_decays_to_zero_along_a_cosine():
    stage, _, _ = make_stage(PolicyConfig(steps=10))
    optimizer, scheduler = stage.optimizer()
    assert isinstance(optimizer, torch.optim.Adam)
    assert scheduler is not None
    for step in range(11):
        expected = 3e-4 * (1 + math.cos(math.pi * step / 10)) / 2
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_slices_add_up(batch):
    stage, _, _ = make_stage()
    randoms = draw(stage)
    full = gradients(stage, stage(batch, randoms)[0])
    total = {name: torch.zeros_like(gradient) for name, gradient in full.items()}
    for half in (slice(0, 10), slice(10, 20)):
        part = {name: rows[half] for name, rows in randoms.items()}
        for name, gradient in gradients(stage, stage(rows_of(batch, half), part)[0]).items():
            total[name] += gradient / 2
    torch.testing.assert_close(total, full)


def test_defaults_are_the_papers():
    config = PolicyConfig()
    assert (config.steps, config.batch_size, config.learning_rate) == (1_000_000, 256, 3e-4)
    assert (config.times, config.weighting, config.baseline) == ((0.02, 0.98), "sigma2", "noise")
    assert (config.normalize, config.beta_on, config.layers) == (None, "prior", 2)
