"""The finished policy by itself."""

import json

import numpy as np
import pytest
import torch

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.stages.networks import DiracPolicy


@pytest.fixture
def agent():
    torch.manual_seed(0)
    observations = ObservationScaling(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([2.0, 1.0, 4.0]))
    actions = ActionScaling(torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 1.0]))
    return TrainedPolicy(DiracPolicy(3, 2, layers=3, width=8), observations, actions, "Hopper-v5")


def test_actions_by_hand(agent):
    observations = np.array([[1.0, -2.0, 0.5], [3.0, 0.0, 8.5]])
    inputs = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 2.0]])
    inner = agent.policy(inputs).detach().numpy()
    expected = np.stack([2 * inner[:, 0], (inner[:, 1] + 1) / 2], axis=1)
    np.testing.assert_allclose(agent(observations), expected, rtol=1e-6)


def test_kinds_of_observations(agent):
    batch = np.random.default_rng(0).normal(size=(5, 3))
    actions = agent(batch)
    assert isinstance(actions, np.ndarray)
    assert actions.dtype == np.float32
    assert isinstance(agent(torch.from_numpy(batch)), torch.Tensor)
    np.testing.assert_array_equal(agent(torch.from_numpy(batch)).numpy(), actions)
    np.testing.assert_allclose(agent(batch[2]), actions[2], rtol=1e-6)
    assert not agent(torch.from_numpy(batch)).requires_grad


def test_actions_stay_within_the_bounds():
    """Rounding of low + (high - low) alone would leave some of these."""
    torch.manual_seed(0)
    bounds = ActionScaling(-torch.rand(300), torch.rand(300))
    policy = DiracPolicy(3, 300, width=8)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1000)
    agent = TrainedPolicy(policy, ObservationScaling.identity(3), bounds)
    actions = agent(torch.randn(50, 3))
    assert (bounds.denormalize(torch.ones(300)) > bounds.high).any()
    assert (actions >= bounds.low).all()
    assert (actions <= bounds.high).all()


@pytest.mark.parametrize("shape", [(4,), (2, 4), (1, 2, 3), ()])
def test_wrong_observations(agent, shape):
    with pytest.raises(ArgumentError, match=r"expected \(3,\) or \(batch, 3\)"):
        agent(np.zeros(shape))


def test_it_is_a_module_with_frozen_weights_and_its_statistics_in_the_state(agent):
    assert not any(parameter.requires_grad for parameter in agent.parameters())
    assert not agent.training
    buffers = dict(agent.named_buffers())
    assert buffers["observation_std"].tolist() == [2.0, 1.0, 4.0]
    assert buffers["action_high"].tolist() == [2.0, 1.0]
    assert set(buffers) < set(agent.state_dict())
    observations = torch.randn(5, 3, dtype=torch.float64)
    expected = agent(observations)
    doubled = agent.double()(observations)
    assert doubled.dtype == torch.float64
    torch.testing.assert_close(doubled.float(), expected)


def test_the_policy_that_was_given_stays_trainable_and_apart():
    network = DiracPolicy(3, 2, width=8)
    bounds = ActionScaling(-torch.ones(2), torch.ones(2))
    agent = TrainedPolicy(network, ObservationScaling.identity(3), bounds)
    before = agent(np.ones(3))
    with torch.no_grad():
        for parameter in network.parameters():
            assert parameter.requires_grad
            parameter.zero_()
    bounds.high.zero_()
    np.testing.assert_array_equal(agent(np.ones(3)), before)


def test_observations_get_a_gradient(agent):
    observation = torch.zeros(3, requires_grad=True)
    agent(observation).sum().backward()
    assert observation.grad is not None
    assert observation.grad.abs().sum() > 0


def test_compiled_and_traced(agent):
    observations = torch.randn(5, 3)
    compiled = torch.compile(agent, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(observations), agent(observations))
    program = torch.export.export(agent, (observations,)).module()
    torch.testing.assert_close(program(observations), agent(observations))


def test_save_and_load(agent, tmp_path):
    agent.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = TrainedPolicy.load(tmp_path)
    observations = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(loaded(observations), agent(observations))
    assert loaded.environment == "Hopper-v5"


def test_a_folder_without_a_policy(agent, tmp_path):
    with pytest.raises(RunError, match="cannot read"):
        TrainedPolicy.load(tmp_path)
    agent.save(tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(description | {"width": 9}))
    with pytest.raises(RunError, match="without a whole policy"):
        TrainedPolicy.load(tmp_path)
    agent.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(RunError, match="cannot read"):
        TrainedPolicy.load(tmp_path)
