"""Policies that act by their mean, and rows drawn by the return of their episodes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import (
    BehaviorConfig,
    CloningConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    SweepGrid,
    TD3BCConfig,
    TrainConfig,
    TrainedPolicy,
    TrainerConfig,
    evaluate,
    evaluate_run,
    export_onnx,
    load_models,
    load_policy,
    sweep,
    train,
)
from scoreregs_offline_rl.data.episode_weights import effective_share, row_weights
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.files import load_json, load_tensors
from scoreregs_offline_rl.randoms import WeightedSampler, derived_seed
from scoreregs_offline_rl.stages.networks import DiracPolicy
from tests.offline_rl.rl_data import make_transitions

STAGES = ("critic", "behavior", "cloning", "td3_bc", "policy")


def configuration(**changes):
    config = TrainConfig(
        data="pendulum-swingup",
        beta=0.1,
        critic=CriticConfig(steps=8, batch_size=32, width=16, return_share=0.5),
        behavior=BehaviorConfig(steps=8, batch_size=32, width=16, blocks=1, return_share=0.25),
        cloning=CloningConfig(policies=3, return_share=0.25),
        td3_bc=TD3BCConfig(policies=2),
        policy=PolicyConfig(steps=8, batch_size=32, width=16, policies=3, return_share=0.25),
        evaluation=EvaluationConfig(episodes=1),
        trainer=TrainerConfig(log_every=4, checkpoint_every=4, cpu=True),
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("several")
    return run_dir, train(configuration(), run_dir, stages=STAGES)


def test_the_mean_of_their_actions_is_what_acts(finished):
    run_dir, _ = finished
    agent, weights = load_policy(run_dir), load_tensors(run_dir / "policy/weights.safetensors")
    states = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    actions = []
    for index in range(3):
        alone = DiracPolicy(3, 1, width=16)
        own = {name.removeprefix("policy."): value[index] for name, value in weights.items()}
        alone.load_state_dict(own)
        scaled = agent.observation_scaling(torch.from_numpy(states))
        actions.append(alone(scaled).detach().numpy())
    np.testing.assert_allclose(agent(states), 2 * np.mean(actions, axis=0), atol=1e-6)
    assert np.std(actions, axis=0).min() > 0


def test_each_is_what_it_is_alone(finished, tmp_path):
    """The first is that of the seed; another that of its own seed, on the same critic."""
    run_dir, _ = finished
    source = {"weights": str(run_dir)}
    for index in (0, 2):
        config = configuration(policy=replace(configuration().policy, policies=1))
        config = replace(
            config,
            seed=derived_seed(0, index),
            critic=replace(config.critic, **source),
            behavior=replace(config.behavior, **source),
        )
        train(config, tmp_path / str(index), stages=("policy",))
        alone = load_tensors(tmp_path / str(index) / "policy/weights.safetensors")
        stacked = load_tensors(run_dir / "policy/weights.safetensors")
        for name, value in alone.items():
            torch.testing.assert_close(stacked[name][index], value, rtol=0, atol=1e-5)


def test_it_is_saved_judged_evaluated_and_exported(finished, tmp_path):
    run_dir, result = finished
    assert load_json(run_dir / "agent/config.json")["policies"] == 3
    assert evaluate_run(run_dir, 1, 0)["policy"].returns == tuple(result["policy"]["returns"])
    assert set(load_models(run_dir).stages) == set(STAGES)
    assert "policy" in result["health"]
    exported = export_onnx(load_policy(run_dir), tmp_path / "policy.onnx")
    assert exported.error <= 1e-4
    again = TrainedPolicy.load(run_dir / "agent")
    state = torch.zeros(3)
    torch.testing.assert_close(again(state), load_policy(run_dir)(state))


def test_in_a_sweep_each_member_has_its_own(finished, tmp_path):
    run_dir, _ = finished
    grid = SweepGrid(seeds=(0, 3), betas=(0.1, 0.5))
    table = sweep(configuration(), tmp_path, grid=grid, stages=("critic", "behavior", "policy"))
    assert table.values.shape == (2, 2)
    stacked = load_tensors(tmp_path / "policy/weights.safetensors")
    alone = load_tensors(run_dir / "policy/weights.safetensors")
    for name, value in alone.items():
        # Members are seeds first, then policies, then temperatures.
        torch.testing.assert_close(stacked[name][[0, 2, 4]], value, rtol=0, atol=2e-4)
    # In one pass, and what each is by itself: its rows are its own.
    for line, label in zip(table.values.flatten(), grid.labels, strict=True):
        alone = evaluate(
            TrainedPolicy.load(tmp_path / "members" / label / "agent"), "Pendulum-v1", 1
        )
        assert alone.normalized_score == line
    agent = load_policy(tmp_path / "members" / grid.labels[0])
    state = torch.zeros(5, 3)
    torch.testing.assert_close(agent(state), load_policy(run_dir)(state), rtol=0, atol=2e-3)


def episodes(returns):
    """Episodes of ten rows, each with its return on the last row."""
    rows = 10 * len(returns)
    rewards = np.zeros(rows, dtype=np.float32)
    rewards[9::10] = returns
    ends = np.arange(rows) % 10 == 9
    return Transitions.from_arrays(
        observations=np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32),
        actions=np.zeros((rows, 1), dtype=np.float32),
        rewards=rewards,
        terminals=ends,
        timeouts=np.zeros(rows, dtype=bool),
        next_observations=np.zeros((rows, 2), dtype=np.float32),
    )


@pytest.mark.parametrize("share", [0.1, 0.25, 0.7])
@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e4])
def test_one_share_is_as_strong_in_every_unit(share, unit):
    returns = np.random.default_rng(1).normal(size=100)
    weights = row_weights(episodes(unit * returns), share)
    assert effective_share(weights) == pytest.approx(share, rel=1e-6)
    of_episodes = weights.reshape(100, 10)
    assert (of_episodes == of_episodes[:, :1]).all()
    order = np.argsort(returns)
    assert (of_episodes[order, 0].diff() >= 0).all()
    # Boltzmann weights: their logarithm is linear in the return.
    kept = of_episodes[order[-30:], 0].log().numpy()
    slope = np.diff(kept) / np.diff(returns[order[-30:]])
    np.testing.assert_allclose(slope, slope[0], rtol=1e-3)


def test_where_returns_are_alike_all_rows_are():
    assert (row_weights(episodes(np.ones(5)), 0.25) == 1).all()
    assert (row_weights(episodes(np.arange(5.0)), 1.0) == 1).all()
    with pytest.raises(ArgumentError, match="share"):
        row_weights(episodes(np.ones(5)), 0.0)
    with pytest.raises(ArgumentError, match="return_share"):
        PolicyConfig(return_share=1.5)


def test_rows_are_drawn_as_often_as_they_weigh():
    weights = torch.tensor([0.0, 1.0, 3.0, 0.0, 4.0])
    sampler = WeightedSampler(weights, 5, seed=0, purpose="critic")
    drawn = torch.cat([sampler(step) for step in range(4000)])
    share = torch.bincount(drawn, minlength=5) / len(drawn)
    torch.testing.assert_close(share, weights / 8, atol=0.01, rtol=0)
    assert sampler(7).equal(WeightedSampler(weights, 5, seed=0, purpose="critic")(7))
    assert not sampler(7).equal(sampler(8))


def test_rows_that_are_kept_out_stay_out(tmp_path):
    """Changing them changes nothing, with weights too, as long as the returns are the same."""
    data = make_transitions(2000)
    config = configuration(
        data="made",
        behavior=BehaviorConfig(steps=4, batch_size=32, width=16, blocks=1, return_share=0.5),
        evaluation=EvaluationConfig(episodes=0),
        normalize_observations=False,
    )
    from scoreregs_offline_rl.stages.probe import held_rows

    observations = data.observations.clone()
    observations[held_rows(2000, 1024, 0)[1]] += 5
    for name, its in (("a", data), ("b", replace(data, observations=observations))):
        train(config, tmp_path / name, stages=("behavior",), data=its)
    files = [tmp_path / name / "behavior/weights.safetensors" for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()
