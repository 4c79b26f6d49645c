"""TD3+BC against numbers by hand, and on bandits whose best policies are known."""

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Generator, Tensor, nn

from scoreregs_offline_rl import Given, TD3BCConfig, TD3BCStage, TrainConfig, Transitions
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.runs.building import build
from scoreregs_offline_rl.stages.networks import DiracPolicy, EnsembleQ
from scoreregs_offline_rl.stages.stacking import stack
from scoreregs_offline_rl.training.inputs import SeedInputs
from scoreregs_offline_rl.training.step import TrainingStep
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions


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


def linear(weight: list[float], *bias: float) -> nn.Sequential:
    """The same weights for every output, of which there are as many as biases."""
    layer = nn.Linear(len(weight), len(bias))
    layer.weight.data, layer.bias.data = torch.tensor([weight] * len(bias)), torch.tensor(bias)
    return nn.Sequential(layer)


def new_stage(seed: int = 0, sizes: tuple[int, int] = (1, 1), **settings: Any) -> TD3BCStage:
    config = TrainConfig("", seed=seed, td3_bc=TD3BCConfig(**settings))
    stage = build(TD3BCStage, config, sizes, Given())
    assert isinstance(stage, TD3BCStage)
    return stage


def trained(data: Transitions, steps: int, seed: int = 0, **settings: Any) -> TD3BCStage:
    stage = new_stage(seed, (data.observations.shape[1], data.actions.shape[1]), **settings)
    inputs = SeedInputs(stage, data, stage.config.batch_size, seed=seed, part=slice(None))
    step = TrainingStep(stage, inputs, Accelerator(cpu=True, step_scheduler_with_optimizer=False))
    for index in range(steps):
        step(index)
    return stage


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def gradients(module: nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in module.parameters()]


def test_the_target_is_what_it_is_by_hand():
    stage = new_stage()
    stage.target_policy.net = linear([0.0], float(torch.tensor(0.8).atanh()))
    # Q_1 = 10 a + s is the smaller but where s = -1, Q_2 = 8 + 5 s.
    stage.target_q.q1, stage.target_q.q2 = linear([10.0, 1.0], 0.0), linear([0.0, 5.0], 8.0)
    batch = Batch(
        observations=torch.zeros(5, 1),
        actions=torch.zeros(5, 1),
        rewards=torch.full((5,), 2.0),
        next_observations=torch.tensor([[0.0], [1.0], [1.0], [-1.0], [3.0]]),
        terminals=torch.tensor([False, False, False, False, True]),
    )
    # Actions 0.7, 1 (not 1.3), 0.3, 0.75, and one that nothing follows.
    noise = torch.tensor([[-0.1], [0.5], [-0.5], [-0.05], [0.0]])
    following = torch.tensor([7.0, 11.0, 4.0, 3.0, 0.0])
    torch.testing.assert_close(stage.backup(batch, noise), 2.0 + 0.99 * following)


def test_the_loss_of_the_critics_is_what_it_is_by_hand():
    stage = new_stage()
    stage.q.q1, stage.q.q2 = linear([1.0, 0.0], 0.0), linear([0.0, 0.0], 3.0)
    data = bandit(torch.tensor([1.0, -1.0]), torch.tensor([[0.5], [-0.5]]), torch.zeros(2, 1))
    loss, metrics = stage(data.select(torch.arange(2)), {"noise": torch.zeros(2, 1)})
    # Q_1 is 0.5 and -0.5, Q_2 is 3 twice, y is 1 and -1.
    assert loss.item() == pytest.approx((0.5**2 + 0.5**2) / 2 + (2**2 + 4**2) / 2)
    assert metrics["q"].item() == pytest.approx(0.0)


def test_noise_is_normal_and_clipped():
    noise = new_stage().draw(200_000, Generator().manual_seed(0))["noise"]
    assert noise.shape == (200_000, 1)
    assert noise.abs().max() == 0.5
    # A normal number is beyond 2.5 standard deviations in 1.24 % of cases.
    assert (noise.abs() == 0.5).double().mean() == pytest.approx(0.0124, rel=0.1)
    assert noise[noise.abs() < 0.2].numel() / 200_000 == pytest.approx(0.6827, rel=0.01)


def test_averages_follow_by_the_target_rate_when_the_policy_moves():
    data = random_bandit(300)
    start, one, two = (trained(data, steps) for steps in (0, 1, 2))
    for average, source in (("target_q", "q"), ("target_policy", "policy")):
        before = weights(getattr(start, average))
        assert weights(getattr(one, average)).equal(before)
        expected = 0.995 * before + 0.005 * weights(getattr(two, source))
        torch.testing.assert_close(weights(getattr(two, average)), expected)


def test_without_alpha_it_clones():
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(2000, 2, generator=generator)
    actions = torch.tanh(observations @ torch.tensor([[0.5, -0.2], [0.1, 0.3]]))
    data = bandit(torch.randn(2000, generator=generator), actions, observations)
    policy = trained(data, 200, alpha=0.0).policy
    assert (policy(observations) - actions).square().mean() < 1e-3 * actions.square().mean()


def test_with_a_large_alpha_it_takes_the_best_action_whatever_the_data_do():
    data = random_bandit(2000)
    cloned, best = (trained(data, 250, alpha=alpha).policy for alpha in (0.0, 100.0))
    observations = data.observations
    assert (best(observations) - observations / 2).abs().mean() < 0.06
    assert cloned(observations).abs().mean() < 0.06


@pytest.mark.parametrize("scale", [1.0, -10.0])
def test_the_policy_has_the_gradient_that_it_has_by_hand(scale: float):
    """The size of Q does not matter, and is held constant; the critics are left alone."""
    stage = new_stage(sizes=(1, 2), alpha=3.0)
    stage.policy.net = linear([0.0], 0.0, 0.0)
    # At its action, which is 0, Q is 5 and rises by 2 along the first dimension, times the scale.
    stage.q.q1 = linear([2.0 * scale, 0.0, 0.0], 5.0 * scale)
    data = bandit(torch.zeros(2), torch.tensor([[0.1, 0.2], [0.5, 0.6]]), torch.zeros(2, 1))
    stage.policy_loss(data.select(torch.arange(2))).backward()
    bias = stage.policy.net.get_parameter("0.bias")
    sign = 1 if scale > 0 else -1
    torch.testing.assert_close(bias.grad, torch.tensor([-0.3 - sign * 3.0 * 2 / 5, -0.4]))
    assert gradients(stage.q) == [None] * 8


def test_the_policy_learns_every_second_step_and_the_critics_every_step():
    data = random_bandit(300)
    found = [trained(data, steps, seed=1) for steps in (0, 1, 2, 3)]
    policies, critics = ([weights(getattr(s, name)) for s in found] for name in ("policy", "q"))
    assert policies[0].equal(policies[1])
    assert not policies[1].equal(policies[2])
    assert policies[2].equal(policies[3])
    assert not any(critics[i].equal(critics[i + 1]) for i in range(3))


def test_it_goes_on_from_weights_where_it_was():
    """The step is one of the weights: what is loaded after the first moves the policy next."""
    data = random_bandit(300)
    stage = new_stage()
    stage.load_state_dict(trained(data, 1).state_dict())
    stage(data.select(torch.arange(8)), {"noise": torch.zeros(8, 1)})[0].backward()
    assert None not in gradients(stage.policy)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_stacked_members_have_the_losses_and_gradients_of_each(layer_norm: bool):
    data, sizes = make_transitions(), (OBSERVATION, ACTION)
    members = [new_stage(seed, sizes, layer_norm=layer_norm) for seed in (0, 1)]
    normal = [m for m in members[0].modules() if isinstance(m, nn.LayerNorm)]
    # Two hidden layers of two critics and of their averages.
    assert len(normal) == 8 * layer_norm
    joint = stack(members)
    for stage in (*members, joint):
        stage.after_step()
    rows = [data.select(torch.arange(20)), data.select(torch.arange(20, 40))]
    noise = [stage.draw(20, Generator().manual_seed(i))["noise"] for i, stage in enumerate(members)]
    both = Batch(**{name: torch.stack([vars(its)[name] for its in rows]) for name in vars(rows[0])})
    losses, _ = joint(both, {"noise": torch.stack(noise)})
    losses.sum().backward()
    for index, (member, its) in enumerate(zip(members, rows, strict=True)):
        loss, _ = member(its, {"noise": noise[index]})
        loss.backward()
        torch.testing.assert_close(losses[index], loss)
        for name, parameter in member.named_parameters():
            of_joint = joint.get_parameter(name).grad
            found = None if of_joint is None else of_joint[index]
            torch.testing.assert_close(found, parameter.grad, msg=name)


def test_a_seed_decides_everything_and_leaves_the_global_one_alone():
    data, state = random_bandit(300), torch.get_rng_state()
    first, again, other = (trained(data, 4, seed=seed).policy for seed in (3, 3, 4))
    assert torch.get_rng_state().equal(state)
    for name, weight in first.state_dict().items():
        assert weight.equal(again.state_dict()[name])
        assert not weight.equal(other.state_dict()[name])


def test_defaults_are_those_of_its_paper():
    config, stage = TD3BCConfig(), new_stage()
    assert (config.alpha, config.discount, config.target_rate) == (2.5, 0.99, 0.005)
    assert (config.noise, config.noise_clip, config.policy_every) == (0.2, 0.5, 2)
    assert (config.batch_size, config.learning_rate, config.steps) == (256, 3e-4, None)
    assert [len(weights(net)) for net in (stage.policy, stage.q)] == [
        len(weights(DiracPolicy(1, 1, layers=2, width=256))),
        len(weights(EnsembleQ(1, 1, layers=2, width=256))),
    ]
    optimizer, scheduler = stage.optimizer()
    assert scheduler is None
    assert optimizer.param_groups[0]["lr"] == 3e-4
