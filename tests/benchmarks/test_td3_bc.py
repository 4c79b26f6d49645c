"""TD3+BC against numbers by hand, and on bandits whose best policies are known."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.quality.scores.td3_bc import TD3BC, train_td3_bc
from scoreregs_offline_rl import RunError, Transitions
from scoreregs_offline_rl.data.transitions import Batch


def bandit(rewards: Tensor, actions: Tensor, observations: Tensor) -> Transitions:
    """Episodes of one step."""
    ends = torch.ones(len(rewards), dtype=torch.bool)
    return Transitions.from_arrays(
        observations.numpy(),
        actions.numpy(),
        rewards.numpy(),
        ends.numpy(),
        next_observations=observations.numpy(),
        max_episode_steps=1,
    )


def random_bandit(rows: int) -> Transitions:
    """Any action is taken, the best in s is s / 2."""
    generator = torch.Generator().manual_seed(0)
    observations, actions = (torch.rand(rows, 1, generator=generator) * 2 - 1 for _ in range(2))
    return bandit(-(actions - observations / 2)[:, 0].square(), actions, observations)


def linear(weight: list[float], bias: float) -> nn.Sequential:
    layer = nn.Linear(len(weight), 1)
    nn.init.constant_(layer.bias, bias)
    layer.weight.data = torch.tensor([weight])
    return nn.Sequential(layer)


def test_the_target_is_what_it_is_by_hand():
    learner = TD3BC(1, 1)
    learner.target_policy.net = linear([0.0], float(torch.tensor(0.8).atanh()))
    # Q_1 = 10 a + s is the smaller but where s = -1, Q_2 = 8 + 5 s.
    learner.target_q.q1, learner.target_q.q2 = linear([10.0, 1.0], 0.0), linear([0.0, 5.0], 8.0)
    batch = Batch(
        observations=torch.zeros(5, 1),
        actions=torch.zeros(5, 1),
        rewards=torch.full((5,), 2.0),
        next_observations=torch.tensor([[0.0], [1.0], [1.0], [-1.0], [3.0]]),
        terminals=torch.tensor([False, False, False, False, True]),
    )
    # Actions 0.7, 1 (not 1.7), 0.3 (not -1.2), 0.75, and one that nothing follows.
    noise = torch.tensor([[-0.1], [0.9], [-2.0], [-0.05], [0.0]])
    following = torch.tensor([7.0, 11.0, 4.0, 3.0, 0.0])
    torch.testing.assert_close(learner.backup(batch, noise), 2.0 + 0.99 * following)


def test_averages_follow_by_the_target_rate():
    learner = TD3BC(1, 1)
    data = random_bandit(8)
    batch = data.select(torch.arange(8))
    learner.update_critic(batch, torch.zeros(8, 1))
    before = [p.clone() for p in learner.target_q.parameters()]
    learner.update_policy(batch)
    for old, new, target in zip(
        before, learner.q.parameters(), learner.target_q.parameters(), strict=True
    ):
        torch.testing.assert_close(target, 0.995 * old + 0.005 * new.detach())


def test_without_alpha_it_clones():
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(2000, 2, generator=generator)
    actions = torch.tanh(observations @ torch.tensor([[0.5, -0.2], [0.1, 0.3]]))
    data = bandit(torch.randn(2000, generator=generator), actions, observations)
    policy = train_td3_bc(data, 200, seed=0, alpha=0.0)
    assert (policy(observations) - actions).square().mean() < 1e-3 * actions.square().mean()


def test_with_a_large_alpha_it_takes_the_best_action_whatever_the_data_do():
    data = random_bandit(2000)
    cloned, best = (train_td3_bc(data, 250, seed=0, alpha=alpha) for alpha in (0.0, 100.0))
    observations = data.observations
    assert (best(observations) - observations / 2).abs().mean() < 0.06
    assert cloned(observations).abs().mean() < 0.06


@pytest.mark.parametrize("scale", [1.0, -10.0])
def test_the_policy_has_the_gradient_that_it_has_by_hand(scale: float):
    """The size of Q does not matter, and is held constant."""
    learner = TD3BC(1, 1, alpha=3.0)
    learner.policy.net, learner.target_policy.net = linear([0.0], 0.0), linear([0.0], 0.0)
    # At its action, which is 0, Q is 5 and rises by 2, times the scale.
    learner.q.q1 = linear([2.0 * scale, 0.0], 5.0 * scale)
    learner.target_q.q1 = linear([0.0, 0.0], 0.0)
    data = bandit(torch.zeros(2), torch.tensor([[0.1], [0.5]]), torch.zeros(2, 1))
    learner.update_policy(data.select(torch.arange(2)))
    bias = learner.policy.net.get_parameter("0.bias")
    sign = 1 if scale > 0 else -1
    torch.testing.assert_close(bias.grad, torch.tensor([-2 * 0.3 - sign * 3.0 * 2 / 5]))


def test_the_policy_learns_every_second_step():
    data = random_bandit(300)
    policies = [train_td3_bc(data, steps, seed=1) for steps in (0, 1, 2, 3)]
    weights = [torch.cat([p.flatten() for p in policy.parameters()]) for policy in policies]
    assert weights[0].equal(weights[1])
    assert not weights[1].equal(weights[2])
    assert weights[2].equal(weights[3])


def test_a_seed_decides_everything_and_leaves_the_global_one_alone():
    data, state = random_bandit(300), torch.get_rng_state()
    first, again, other = (train_td3_bc(data, 4, seed=seed) for seed in (3, 3, 4))
    assert torch.get_rng_state().equal(state)
    for name, weight in first.state_dict().items():
        assert weight.equal(again.state_dict()[name])
        assert not weight.equal(other.state_dict()[name])


def test_divergence_is_an_error():
    data = bandit(torch.full((300,), 1e30), torch.zeros(300, 1), torch.zeros(300, 1))
    with pytest.raises(RunError, match=r"critic loss of inf at step 1 .* expected a finite one"):
        train_td3_bc(data, 4, seed=0)
