"""The three training steps as one writes them in plain torch: same networks, same mathematics."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Adam, AdamW

from benchmarks.speed.workload import make_stage
from scoreregs import VPSchedule
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.stages.policy import PolicyStage

__all__ = ["PLAIN"]

Step = Callable[[Batch], None]


def critic_step() -> Step:
    """Returns implicit Q-learning with two optimisers."""
    stage = make_stage("critic")
    assert isinstance(stage, CriticStage)
    critic = stage.critic
    q_optimizer, v_optimizer = (Adam(m.parameters(), lr=3e-4) for m in (critic.q, critic.value))

    def step(batch: Batch) -> None:
        with torch.no_grad():
            target = torch.minimum(*critic.target_q(batch.actions, batch.observations))
            following = critic.value(batch.next_observations)
            backup = batch.rewards + 0.99 * ~batch.terminals * following
        difference = target - critic.value(batch.observations)
        weight = (0.7 - (difference < 0).float()).abs()
        v_optimizer.zero_grad()
        (weight * difference.square()).mean().backward()
        v_optimizer.step()
        q1, q2 = critic.q(batch.actions, batch.observations)
        q_optimizer.zero_grad()
        (((q1 - backup).square() + (q2 - backup).square()).mean() / 2).backward()
        q_optimizer.step()
        with torch.no_grad():
            for slow, new in zip(critic.target_q.parameters(), critic.q.parameters(), strict=True):
                slow.lerp_(new, 0.005)

    return step


def behavior_step() -> Step:
    """Returns denoising score matching."""
    stage = make_stage("behavior")
    assert isinstance(stage, BehaviorStage)
    network, schedule = stage.network, VPSchedule()
    optimizer = AdamW(network.parameters(), lr=3e-4, weight_decay=0.01)

    def step(batch: Batch) -> None:
        x = batch.actions
        t = torch.rand(len(x), device=x.device) * 0.999 + 0.001
        alpha, sigma = (scale[:, None] for scale in schedule(t))
        noise = torch.randn_like(x)
        masks = (torch.rand(len(x), 3, 256, device=x.device) >= 0.1) / 0.9
        found = network(alpha * x + sigma * noise, t, batch.observations, masks)
        optimizer.zero_grad()
        (found - noise).square().sum(1).mean().backward()
        optimizer.step()

    return step


def policy_step() -> Step:
    """Returns the extraction of Eq. 15."""
    stage = make_stage("policy")
    assert isinstance(stage, PolicyStage)
    policy, schedule = stage.policy, VPSchedule()
    q_of, network = _parts(stage)
    optimizer = Adam(policy.parameters(), lr=3e-4)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1_000_000)

    def step(batch: Batch) -> None:
        action = policy(batch.observations)
        t = torch.rand(len(action), device=action.device) * 0.96 + 0.02
        alpha, sigma = (scale[:, None] for scale in schedule(t))
        noise = torch.randn_like(action)
        leaf = action.detach().requires_grad_()
        with torch.no_grad():
            epsilon = network(alpha * leaf + sigma * noise, t, batch.observations)
        (gradient,) = torch.autograd.grad(q_of(leaf, batch.observations).sum(), leaf)
        bracket = gradient - sigma.square() * (epsilon - noise) / 0.01
        optimizer.zero_grad()
        (-(bracket * action).sum(1).mean()).backward()
        optimizer.step()
        decay.step()

    return step


def _parts(stage: PolicyStage) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[..., Tensor]]:
    """The value and the behavior network that a policy stage was made of."""
    (network,) = stage.objective.prior.networks()
    return stage.objective.value, network


PLAIN: dict[str, Callable[[], Step]] = {
    "critic": critic_step,
    "behavior": behavior_step,
    "policy": policy_step,
}
"""Makes a step, by its stage's name."""
