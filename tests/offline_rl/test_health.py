"""The three checks: each fires where something is wrong, and not where nothing is."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from scoreregs import GaussianMixturePrior, VPSchedule
from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.runs.models import diagnose
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.stages.actor import check_policy
from scoreregs_offline_rl.stages.behavior import BehaviorStage, check_behavior
from scoreregs_offline_rl.stages.critic import Critic, check_critic, largest_q_allowed
from scoreregs_offline_rl.stages.finding import Finding
from scoreregs_offline_rl.stages.gaussian_actions import GaussianActions
from scoreregs_offline_rl.stages.networks import EnsembleQ, ValueNetwork
from scoreregs_offline_rl.stages.probe import Probe, held_rows
from scoreregs_offline_rl.training.monitor import Monitor
from tests.offline_rl.rl_data import noise_prior

ROWS, NOISE = 4000, 0.4
WEIGHT = torch.tensor([[0.4, -0.3], [0.0, 0.5], [0.2, 0.1]])


def linear_data(rows=ROWS, seed=0):
    """Actions N(W s, 0.4^2), whose exact denoiser is known; rewards in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randn(rows, 3, generator=generator)
    noise = NOISE * torch.randn(rows, 2, generator=generator)
    last = torch.arange(rows) % 50 == 49
    return Transitions.from_arrays(
        observations=observations.numpy(),
        actions=(observations @ WEIGHT + noise).numpy(),
        rewards=(2 * torch.rand(rows, generator=generator) - 1).numpy(),
        terminals=torch.zeros(rows).numpy(),
        timeouts=last.numpy(),
        next_observations=observations.roll(-1, 0).numpy(),
    )


def exact(x_t, t, condition):
    """The denoiser of N(W s, 0.4^2), by hand."""
    alpha, sigma = (level[:, None].float() for level in VPSchedule()(t.double()))
    variance = alpha**2 * NOISE**2 + sigma**2
    return sigma * (x_t - alpha * (condition @ WEIGHT)) / variance


def blind(x_t, t, condition):
    """A denoiser that knows the actions' moments and not their states."""
    alpha, sigma = (level[:, None].float() for level in VPSchedule()(t.double()))
    variance = NOISE**2 + WEIGHT.square().sum(0)
    return sigma * x_t / (alpha**2 * variance + sigma**2)


@pytest.fixture(scope="module")
def data():
    return linear_data()


@pytest.fixture(scope="module")
def probes(data):
    trained, held = held_rows(len(data), 1024, seed=0)
    return Probe.draw(data, held, 0), Probe.draw(data, trained, 0)


@pytest.fixture(scope="module")
def gaussian(data):
    return GaussianActions.fit(data.observations, data.actions, torch.arange(len(data)))


def make_critic(scale):
    torch.manual_seed(0)
    critic = Critic(EnsembleQ(3, 2, width=16), ValueNetwork(3, width=16))
    with torch.no_grad():
        final = critic.target_q.get_submodule("q2")[-1]  # pyright: ignore[reportIndexIssue]
        assert isinstance(final, torch.nn.Linear)
        final.weight.zero_()
        final.bias.fill_(scale)
    return critic


def test_rows_are_kept_out():
    trained, held = held_rows(1000, 30, seed=1)
    assert len(held) == 30
    assert sorted(trained.tolist() + held.tolist()) == list(range(1000))
    assert held.tolist() == held_rows(1000, 30, seed=1)[1].tolist()
    assert held.tolist() != held_rows(1000, 30, seed=2)[1].tolist()
    assert len(held_rows(1000, 1024, seed=1)[1]) == 50


def test_a_probe_spreads_times_and_takes_its_rows(data):
    rows = torch.arange(100, 200)
    probe = Probe.draw(data, rows, seed=0)
    assert probe.t.shape == (8, 100)
    assert probe.t.min() >= 0.02
    assert probe.t.max() <= 0.98
    # One time in each eighth of the range, for every row.
    eighths = ((probe.t - 0.02) / 0.96 * 8).floor().long()
    assert eighths.equal(torch.arange(8)[:, None].expand(8, 100))
    assert sorted(probe.batch.rewards.tolist()) == sorted(data.rewards[100:200].tolist())
    assert abs(probe.noise.mean().item()) < 0.1
    assert len(Probe.draw(data, torch.arange(4000), seed=0).batch.rewards) == 512


def test_an_error_is_the_mean_over_times_and_dimensions(data):
    probe = Probe.draw(data, torch.arange(5), seed=0)
    actions = probe.batch.actions
    expected = torch.zeros(5)
    for k in range(8):
        for i in range(5):
            alpha, sigma = (level.float() for level in VPSchedule()(probe.t[k, i].double()))
            x_t = alpha * actions[i] + sigma * probe.noise[k, i]
            predicted = exact(x_t[None], probe.t[k, i : i + 1], probe.batch.observations[i : i + 1])
            expected[i] += (predicted[0] - probe.noise[k, i]).square().mean() / 8
    torch.testing.assert_close(probe.errors(noise_prior(exact), actions), expected)


def test_the_gaussian_is_the_best_one(data, gaussian):
    """Least squares by another route, and its denoiser against the closed form of the core."""
    inputs = torch.cat([data.observations, torch.ones(ROWS, 1)], 1).double()
    solution = torch.linalg.lstsq(inputs, data.actions.double()).solution
    torch.testing.assert_close(gaussian.weight, solution, atol=1e-8, rtol=1e-8)
    residual = data.actions.double() - inputs @ solution
    covariance = residual.T @ residual / ROWS
    generator = torch.Generator().manual_seed(0)
    x_t, t = torch.randn(6, 2, generator=generator), torch.rand(6, generator=generator)
    for i in range(6):
        mean = inputs[i] @ solution
        prior = GaussianMixturePrior([1.0], mean[None], covariance[None], VPSchedule())
        expected = prior.epsilon(x_t[i : i + 1].double(), t[i : i + 1], None)
        actual = gaussian.epsilon(
            x_t[i : i + 1].double(), t[i : i + 1], data.observations[i : i + 1]
        )
        torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)


def test_a_constant_feature_does_not_matter(data, gaussian):
    constant = torch.cat([data.observations, torch.full((ROWS, 1), 3.0)], 1)
    wider = GaussianActions.fit(constant, data.actions, torch.arange(ROWS))
    torch.testing.assert_close(wider.variances, gaussian.variances, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize(("q", "ok"), [(10.0, True), (140.0, True), (-160.0, False), (1e6, False)])
def test_critic(data, probes, q, ok):
    """Rewards within 1 and a discount of 0.99 allow returns within 100, and half as much again."""
    limit = largest_q_allowed(float(data.rewards.abs().max()), 0.99)
    assert limit == pytest.approx(150, abs=0.5)
    finding = check_critic(make_critic(q), probes[0], limit)
    assert finding.measured == pytest.approx(abs(q))
    assert finding.ok is ok
    assert ("diverges; lower critic.expectile" in finding.message) is not ok


def test_a_critic_that_is_not_a_number_fails(probes):
    assert not check_critic(make_critic(float("nan")), probes[0], 150.0).ok


def test_a_behavior_that_knows_the_state_passes(probes, gaussian):
    finding = check_behavior(noise_prior(exact), gaussian, *probes)
    assert finding.ok
    # The limit is a quarter more than the Gaussian's error, and a little for chance.
    assert finding.measured == pytest.approx(finding.limit / 1.25, rel=0.05)
    assert "denoising error" in finding.message
    assert "take" not in finding.message


def test_a_behavior_that_does_not_fails(probes, gaussian):
    finding = check_behavior(noise_prior(blind), gaussian, *probes)
    assert not finding.ok
    assert "fits worse than a Gaussian; take more behavior.steps" in finding.message


def test_a_behavior_that_knows_its_rows_by_heart_is_told_apart(data):
    """The exact denoiser of the rows of training: perfect there, useless elsewhere."""
    few = linear_data(400)
    trained, held = held_rows(400, 20, seed=0)
    observations, actions = few.observations[trained], few.actions[trained]

    def memory(x_t, t, condition):
        nearest = torch.cdist(condition, observations).argmin(1)
        alpha, sigma = (level[:, None].float() for level in VPSchedule()(t.double()))
        return (x_t - alpha * actions[nearest]) / sigma

    gaussian = GaussianActions.fit(few.observations, few.actions, trained)
    probes = Probe.draw(few, held, 0), Probe.draw(few, trained, 0)
    finding = check_behavior(noise_prior(memory), gaussian, *probes)
    assert not finding.ok
    assert "learnt its rows by heart; take fewer behavior.steps" in finding.message


@pytest.mark.parametrize(("offset", "ok"), [(0.0, True), (1.5, True), (3.0, False)])
def test_policy(probes, offset, ok):
    """Actions at a number of standard deviations from the data's mean, in every state."""
    finding = check_policy(
        "policy", lambda s: s @ WEIGHT + offset * NOISE, noise_prior(exact), probes[0]
    )
    assert finding.ok is ok
    assert (finding.measured < 0.2) is ok
    assert ("leaves the data's support; lower beta" in finding.message) is not ok


def test_the_data_itself_is_within_its_support(probes):
    finding = check_policy(
        "policy", lambda s: probes[0].batch.actions, noise_prior(exact), probes[0]
    )
    assert finding.measured == pytest.approx(0.05, abs=0.005)


def test_a_monitor_warns_once_and_not_too_early(caplog):
    finding = Finding("policy", 0.9, 0.5, "it left: lower beta")
    monitor = Monitor(lambda: finding, first_step=10)
    with caplog.at_level(logging.WARNING):
        for step in (5, 10, 15):
            assert monitor(step) == {"health_measured": 0.9, "health_limit": 0.5}
    assert caplog.messages == ["policy stage, step 10: it left: lower beta"]
    caplog.clear()
    Monitor(lambda: replace(finding, measured=0.1))(20)
    assert not caplog.messages


def quick(**changes):
    config = TrainConfig(
        data="linear",
        beta=0.1,
        rewards="none",
        normalize_observations=False,
        critic=CriticConfig(steps=20, batch_size=64, width=16),
        behavior=BehaviorConfig(steps=20, batch_size=64, width=16, blocks=1),
        policy=PolicyConfig(steps=20, batch_size=64, width=16),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=10, cpu=True),
    )
    return replace(config, **changes)


SICK = {
    "critic": {"critic": CriticConfig(steps=20, batch_size=64, width=16, learning_rate=30.0)},
    "behavior": {},
    "policy": {
        "behavior": BehaviorConfig(
            steps=400, batch_size=256, width=32, blocks=1, learning_rate=3e-3
        ),
        "policy": PolicyConfig(steps=60, batch_size=64, width=16, learning_rate=0.3),
        "beta": 1e6,
    },
}


@pytest.mark.parametrize("sick", SICK)
def test_training_warns_and_keeps_what_was_found(data, tmp_path, caplog, sick):
    with caplog.at_level(logging.WARNING):
        result = train(quick(**SICK[sick]), tmp_path, data=data)
    said = [message for message in caplog.messages if message.startswith(f"{sick} stage")]
    assert len(said) == 1
    assert "\n" not in said[0]
    assert result["health"][sick]["ok"] is False
    assert result["health"][sick]["message"].split(": ")[1] in said[0]
    lines = (tmp_path / sick / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert last["health_measured"] == pytest.approx(result["health"][sick]["measured"])
    assert last["health_measured"] > last["health_limit"]


def test_a_healthy_run(data, tmp_path, caplog):
    behavior = BehaviorConfig(steps=400, batch_size=256, width=64, blocks=1, learning_rate=3e-3)
    config = quick(behavior=behavior, beta=1e-3, policy=PolicyConfig(steps=300, batch_size=64))
    with caplog.at_level(logging.WARNING, logger="scoreregs_offline_rl.training.monitor"):
        result = train(replace(config, trainer=TrainerConfig(cpu=True)), tmp_path, data=data)
    health = result["health"]
    assert {name: finding["ok"] for name, finding in health.items()} == {
        "critic": True,
        "behavior": True,
        "policy": True,
    }, health
    assert not caplog.messages
    findings = diagnose(tmp_path, data)
    for name, finding in findings.items():
        assert finding.measured == pytest.approx(health[name]["measured"])
        assert (finding.limit, finding.message) == (
            pytest.approx(health[name]["limit"]),
            health[name]["message"],
        )


def test_held_rows_are_not_trained_on(data, tmp_path):
    """Changing what is kept out changes nothing, unless nothing is kept out."""
    config = quick(critic=CriticConfig(steps=1, batch_size=8, width=8))
    held = held_rows(ROWS, 1024, seed=0)[1]
    observations = data.observations.clone()
    observations[held] += 5.0
    train(config, tmp_path / "a", data=data, stages=["behavior"])
    changed = replace(data, observations=observations)
    train(config, tmp_path / "b", data=changed, stages=["behavior"])
    name = "behavior/weights.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    trains_on_all = quick(behavior=replace(config.behavior, held_out=0))
    train(trains_on_all, tmp_path / "c", data=data, stages=["behavior"])
    train(trains_on_all, tmp_path / "d", data=changed, stages=["behavior"])
    assert (tmp_path / "c" / name).read_bytes() != (tmp_path / "d" / name).read_bytes()


def test_diagnosis_of_what_is_finished(data, tmp_path):
    train(quick(), tmp_path, data=data, stages=["critic"])
    assert list(diagnose(tmp_path, data)) == ["critic"]
    with pytest.raises(RunError, match="other data than that of the run"):
        diagnose(tmp_path, linear_data(seed=1))
    (tmp_path / "critic/report.json").unlink()
    with pytest.raises(RunError, match="train a stage first"):
        diagnose(tmp_path, data)


def test_checks_leave_the_behavior_model_as_it_was(data, probes, gaussian):
    stage = BehaviorStage(3, 2, BehaviorConfig(width=16, blocks=1))
    state = torch.get_rng_state()
    check_behavior(stage.prior, gaussian, *probes)
    assert stage.training
    assert all(parameter.grad is None for parameter in stage.parameters())
    assert torch.get_rng_state().equal(state)
