"""Checkpoints of the paper's code: what they know of the data, and files that are none."""

import pytest
import torch

from scoreregs.errors import ArgumentError
from scoreregs.kernel import denoising_loss
from scoreregs_offline_rl.data.hdf5 import load_hdf5
from scoreregs_offline_rl.data.scaling import RewardScaling
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import evaluate
from scoreregs_offline_rl.runs.paper_weights import (
    load_paper_behavior,
    load_paper_critic,
    load_paper_policy,
)
from scoreregs_offline_rl.stages.networks import DiracPolicy
from tests.offline_rl.rl_data import noise_prior
from tests.shared import shared_file

ROWS = 4000


@pytest.fixture(scope="module")
def data():
    return load_hdf5(shared_file("data/hopper-medium-expert.hdf5"))


@pytest.fixture(scope="module")
def batch(data):
    return data.select(torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:ROWS])


def test_the_behavior_model_knows_the_data(batch):
    """Its stated loss is 0.306 with dropout; three dimensions of pure noise would lose 3."""
    network = load_paper_behavior(shared_file("oracles/hopper-medium-expert/behavior.pth"))
    generator = torch.Generator().manual_seed(1)
    t = torch.rand(ROWS, generator=generator).clamp_min(1e-3)
    noise = torch.randn(batch.actions.shape, generator=generator)
    with torch.no_grad():
        losses = [
            denoising_loss(noise_prior(network), batch.actions, observations, t, noise).mean()
            for observations in (batch.observations, batch.observations.roll(1, 0))
        ]
    assert 0.26 < losses[0] < 0.32
    assert losses[1] > 1


def test_the_critic_knows_the_data(data, batch):
    """Bellman's equation holds at the data within a few percent of the spread of Q."""
    critic = load_paper_critic(shared_file("oracles/hopper-medium-expert/critic.pth"))
    rewards = RewardScaling.fit("return_range", data)(batch.rewards)
    with torch.no_grad():
        q = critic.target_q.mean(batch.actions, batch.observations)
        following = critic.value(batch.next_observations) * ~batch.terminals
        error = q - rewards - 0.99 * following
    assert error.square().mean().sqrt() < 0.1 * q.std()
    assert error.mean().abs() < 0.02 * q.std()


def whole_model(observation_size=11, action_size=3):
    """The state of the paper's whole model, as far as it matters, and the policy in it."""
    torch.manual_seed(0)
    policy = DiracPolicy(observation_size, action_size, layers=4, width=16)
    state = {f"SRPO_policy.{name}": t for name, t in policy.state_dict().items()}
    return policy, state | {"diffusion_behavior.embed.0.W": torch.zeros(32)}


def test_a_policy_out_of_the_whole_model(tmp_path):
    policy, state = whole_model()
    torch.save(state, tmp_path / "srpo.pth")
    loaded = load_paper_policy(tmp_path / "srpo.pth", "hopper-medium-expert-v2")
    observations = torch.randn(4, 11)
    torch.testing.assert_close(loaded(observations), policy(observations).detach())
    assert loaded.environment == "Hopper-v4"
    assert evaluate(loaded, "Hopper-v4", episodes=2).returns[0] > 0
    with pytest.raises(ArgumentError, match="3 actions, expected the 6 of Walker2d"):
        load_paper_policy(tmp_path / "srpo.pth", "Walker2d-v4")


@pytest.mark.parametrize(
    ("read", "name", "words"),
    [
        (load_paper_behavior, "critic", r"critic.pth.*diffusion_behavior\.\*: .*load_paper_critic"),
        (load_paper_critic, "behavior", r"behavior.pth.*q0\.\*: .*load_paper_behavior"),
    ],
)
def test_the_other_checkpoint(read, name, words):
    with pytest.raises(RunError, match=words):
        read(shared_file(f"oracles/hopper-medium-expert/{name}.pth"))


def write_text(path):
    path.write_text("not a checkpoint")


def write_pickle(path):
    torch.save(torch.nn.Linear(1, 1), path)


def write_cut(path):
    torch.save(whole_model()[1], path)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "No such file"),
        (write_text, "cannot read as tensors"),
        (write_pickle, "cannot read as tensors"),
        (write_cut, "cannot read as tensors"),
        (lambda path: torch.save([1, 2], path), "holds no tensors by name"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no tensors by name"),
        (lambda path: torch.save({}, path), "names none, expected"),
        (lambda path: torch.save({"a.b": torch.ones(1)}, path), "training scripts wrote"),
        (
            lambda path: torch.save({"q0.q1.0.weight": torch.ones(1)}, path),
            "not those of the paper's networks",
        ),
    ],
)
def test_a_file_that_is_no_checkpoint(tmp_path, write, words):
    write(tmp_path / "some.pth")
    with pytest.raises(RunError, match=rf"some\.pth.*{words}") as caught:
        load_paper_critic(tmp_path / "some.pth")
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
