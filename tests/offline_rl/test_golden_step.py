"""One policy-extraction step of the paper's own implementation, recorded."""

import numpy as np
import pytest
import torch

from scoreregs import ScoreRegularizedObjective, VPSchedule
from scoreregs_offline_rl import PolicyConfig
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.runs.paper_weights import (
    behavior_from_paper,
    load_paper_behavior,
    load_paper_critic,
    policy_from_paper,
    twin_q_from_paper,
)
from scoreregs_offline_rl.stages.critic import Critic, TwinValue
from scoreregs_offline_rl.stages.networks import ValueNetwork
from scoreregs_offline_rl.stages.policy import PolicyStage
from tests.offline_rl.rl_data import noise_prior
from tests.shared import shared_file

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden():
    with np.load(shared_file("oracles/srpo_policy_step_locomotion.npz")) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def networks(golden):
    action_size = golden["action"].shape[1]
    return (
        policy_from_paper(golden, "policy."),
        behavior_from_paper(golden, "behavior."),
        twin_q_from_paper(golden, "q_target.", action_size),
    )


def relative_error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


def test_policy_output(golden, networks):
    assert relative_error(networks[0](golden["state"]), golden["action"]) <= TOLERANCE


def test_schedule(golden):
    alpha, sigma = VPSchedule()(golden["t"])
    assert relative_error(alpha, golden["alpha"]) <= TOLERANCE
    assert relative_error(sigma, golden["sigma"]) <= TOLERANCE


def test_behavior_output(golden, networks):
    alpha, sigma = golden["alpha"][:, None], golden["sigma"][:, None]
    noisy = alpha * golden["action"] + sigma * golden["noise"]
    output = networks[1](noisy, golden["t"], golden["state"])
    assert relative_error(output, golden["epsilon_hat"]) <= TOLERANCE


def test_critic_output(golden, networks):
    q1, q2 = networks[2](golden["action"], golden["state"])
    assert relative_error(q1, golden["q1_target"].squeeze(-1)) <= TOLERANCE
    assert relative_error(q2, golden["q2_target"].squeeze(-1)) <= TOLERANCE


def check_gradients(policy, golden, tolerance=TOLERANCE):
    gradients = {name: parameter.grad for name, parameter in policy.named_parameters()}
    assert set(gradients) == {n.removeprefix("grad.") for n in golden if n.startswith("grad.")}
    for name, gradient in gradients.items():
        assert relative_error(gradient, golden[f"grad.{name}"]) <= tolerance, name


@pytest.mark.parametrize("beta_on", ["value", "prior"])
def test_objective_gradients(golden, networks, beta_on):
    policy, behavior, twin_q = networks
    beta = float(golden["beta"])
    objective = ScoreRegularizedObjective.from_value(
        twin_q.mean, noise_prior(behavior), beta=beta, beta_on=beta_on
    )
    action = policy(golden["state"])
    result = objective(action, golden["state"], t=golden["t"], noise=golden["noise"])
    policy.zero_grad()
    # Eq. 15 is the recorded loss over beta.
    (result.loss * (1 if beta_on == "value" else beta)).backward()
    check_gradients(policy, golden)


def policy_stage_and_batch(golden, networks):
    policy, behavior, twin_q = networks
    critic = Critic(twin_q, ValueNetwork(golden["state"].shape[1]))
    config = PolicyConfig(beta_on="value")
    stage = PolicyStage(
        policy, TwinValue(critic), noise_prior(behavior), config, beta=float(golden["beta"])
    )
    rows = len(golden["state"])
    batch = Batch(
        golden["state"],
        golden["action"],
        torch.zeros(rows),
        golden["state"],
        torch.ones(rows).bool(),
    )
    return stage, batch


def one_draw(golden):
    return {"t": golden["t"][:, None], "noise": golden["noise"][:, None]}


def test_policy_stage_gradients(golden, networks):
    stage, batch = policy_stage_and_batch(golden, networks)
    stage.policy.zero_grad()
    loss, _ = stage(batch, one_draw(golden))
    loss.backward()
    check_gradients(stage.policy, golden)


def test_checkpoints_of_the_paper():
    behavior = load_paper_behavior(shared_file("oracles/hopper-medium-expert/behavior.pth"))
    critic = load_paper_critic(shared_file("oracles/hopper-medium-expert/critic.pth"))
    action, observation = torch.zeros(2, 3), torch.zeros(2, 11)
    assert behavior(action, torch.ones(2), observation).shape == (2, 3)
    assert not critic.target_q.mean(action, observation).equal(critic.q.mean(action, observation))
    assert TwinValue(critic).advantage(action, observation).isfinite().all()
