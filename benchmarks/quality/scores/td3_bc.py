"""TD3+BC (Fujimoto & Gu, 2021): TD3 whose policy also clones the data.

Sizes, rates and noise are those of its paper, observations are standardised, rewards are as
recorded. It is given as many gradient steps as ours has for all of its networks together: every
step updates the critic, every second one the policy as well.
"""

import copy
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import final

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.rows import Row, evaluated_row
from scoreregs_offline_rl import RunError, TrainedPolicy, Transitions, evaluate, load_data
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.runs.pipeline import scale
from scoreregs_offline_rl.runs.resolution import resolve
from scoreregs_offline_rl.stages.networks import DiracPolicy, TwinQ
from scoreregs_offline_rl.stages.optimizers import adam
from scoreregs_offline_rl.training.randoms import generator_for, seeded

__all__ = ["TD3BC", "run_td3_bc", "train_td3_bc"]

_BATCH, _LEARNING_RATE, _DISCOUNT, _TARGET_RATE = 256, 3e-4, 0.99, 0.005
_NOISE, _NOISE_CLIP, _POLICY_EVERY = 0.2, 0.5, 2


@final
class TD3BC:
    """Twin critics, a policy and their moving averages (primed).

        a' = clip(pi'(s') + clip(noise, -0.5, 0.5), -1, 1)
        y = r + discount (1 - terminal) min_i Q_i'(s', a')
        L_Q = E sum_i (Q_i(s, a) - y)^2
        L_pi = E (pi(s) - a)^2 - lambda E Q_1(s, pi(s)),    lambda = alpha / E |Q_1(s, pi(s))|

    The first mean of L_pi is also over the action's dimensions; lambda is held constant.

    Args:
        observation_size: Number of observation dimensions o.
        action_size: Number of action dimensions a.
        alpha: How much Q counts; 0 is cloning.
    """

    def __init__(self, observation_size: int, action_size: int, *, alpha: float = 2.5) -> None:
        self.policy = DiracPolicy(observation_size, action_size)
        self.q = TwinQ(observation_size, action_size)
        self.target_policy = copy.deepcopy(self.policy).requires_grad_(False)
        self.target_q = copy.deepcopy(self.q).requires_grad_(False)
        self._alpha = alpha
        self._policy_optimizer = adam(self.policy.parameters(), _LEARNING_RATE)
        self._q_optimizer = adam(self.q.parameters(), _LEARNING_RATE)

    @torch.no_grad()
    def backup(self, batch: Batch, noise: Tensor) -> Tensor:
        """Returns the critics' target y (batch,), for noise (batch, a)."""
        action = self.target_policy(batch.next_observations)
        action = (action + noise.clamp(-_NOISE_CLIP, _NOISE_CLIP)).clamp(-1, 1)
        value = self.target_q.minimum(action, batch.next_observations)
        return batch.rewards + _DISCOUNT * value * ~batch.terminals

    def update_critic(self, batch: Batch, noise: Tensor) -> float:
        """Takes a step of L_Q; returns it as it was before."""
        backup = self.backup(batch, noise)
        q1, q2 = self.q(batch.actions, batch.observations)
        loss = (q1 - backup).square().mean() + (q2 - backup).square().mean()
        self._q_optimizer.zero_grad()
        loss.backward()
        self._q_optimizer.step()
        return loss.item()

    def update_policy(self, batch: Batch) -> None:
        """Takes a step of L_pi, and moves the averages."""
        action = self.policy(batch.observations)
        q1, _ = self.q(action, batch.observations)
        weight = self._alpha / q1.detach().abs().mean()
        loss = (action - batch.actions).square().mean() - weight * q1.mean()
        self._policy_optimizer.zero_grad()
        loss.backward(inputs=list(self.policy.parameters()))
        self._policy_optimizer.step()
        self._update_targets()

    @torch.no_grad()
    def _update_targets(self) -> None:
        targets = chain(self.target_policy.parameters(), self.target_q.parameters())
        sources = chain(self.policy.parameters(), self.q.parameters())
        get_ema_multi_avg_fn(1 - _TARGET_RATE)(tuple(targets), tuple(sources), 0)


def train_td3_bc(data: Transitions, steps: int, seed: int, *, alpha: float = 2.5) -> DiracPolicy:
    """Returns a policy of scaled observations, its actions in [-1, 1].

    Args:
        data: Scaled observations, actions in [-1, 1].
        steps: Of the critic; half as many of the policy.
        seed: Of weights, rows and noise.
        alpha: See `TD3BC`.

    Raises:
        RunError: It diverges.
    """
    with seeded(seed, "td3_bc"):
        learner = TD3BC(data.observations.shape[1], data.actions.shape[1], alpha=alpha)
    generator = generator_for(seed, "td3_bc", 0)
    for step in range(1, steps + 1):
        batch = data.select(torch.randint(len(data), (_BATCH,), generator=generator))
        noise = _NOISE * torch.randn(batch.actions.shape, generator=generator)
        loss = learner.update_critic(batch, noise)
        if not loss < float("inf"):
            raise RunError(
                f"got a critic loss of {loss} at step {step} of TD3+BC on {data.source}, expected "
                "a finite one: it diverges; look at the rewards, or leave the method out"
            )
        if step % _POLICY_EVERY == 0:
            learner.update_policy(batch)
    return learner.policy


def run_td3_bc(protocol: Protocol, data: Path, seed: int) -> list[Row]:
    """Returns the row of TD3+BC.

    Raises:
        RunError: It diverges.
    """
    config = replace(protocol.config(data, seed), rewards="none")
    rows = load_data(config.data, config.loading)
    config = resolve(config, rows)
    scaled = scale(rows, config)
    start = time.perf_counter()
    steps = protocol.gradient_steps * _POLICY_EVERY // (_POLICY_EVERY + 1)
    policy = train_td3_bc(scaled.transitions, steps, seed)
    seconds = time.perf_counter() - start
    agent = TrainedPolicy(policy, scaled.observations, scaled.actions)
    found = evaluate(agent, config.evaluation.environment or "", protocol.episodes)
    return [evaluated_row("TD3+BC", data, seed, found, seconds)]
