"""The finished policy by itself."""

import json

import numpy as np
import pytest
import torch
from scoreregs_offline_rl.agent import TrainedPolicy
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.networks import DiracPolicy
from scoreregs_offline_rl.scaling import ActionScaling, ObservationScaling

from scoreregs.errors import ArgumentError


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
