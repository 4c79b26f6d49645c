"""The paper's code at the same budgets: its models and steps, on rows as it reads them.

Its rows are D4RL's `qlearning_dataset`, its observations are as they are, its rewards are divided
by the range of returns, its batches run through a shuffled epoch. The range is that of the true
trajectories, where its own loader counts episodes after rows were dropped. Steps, batches and beta
are the protocol's; learning rates, moving average and sizes are fixed in that code.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.paper_code import PaperCode, as_paper_batch
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.rows import Row, evaluated_row
from scoreregs_offline_rl import EvaluationResult, LoadingConfig, Transitions, evaluate, load_data
from scoreregs_offline_rl.data.scaling import RewardScaling
from scoreregs_offline_rl.randoms import EpochSampler

__all__ = ["run_paper"]


def run_paper(protocol: Protocol, data: Path, seed: int, checkout: Path) -> list[Row]:
    """Returns the row of the paper's code, and its learning curve if the protocol asks for one."""
    rows = load_data(str(data), LoadingConfig(rows="qlearning"))
    rewards = RewardScaling.fit("return_range", rows)(rows.rewards)
    start = time.perf_counter()
    curve: dict[str, list[float | None]] = {"step": [], "score": []}

    def evaluated(policy: Callable[[Tensor], Tensor]) -> EvaluationResult:
        def act(observations: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return policy(torch.as_tensor(observations, dtype=torch.float32)).numpy()

        return evaluate(act, rows.environment or "", protocol.episodes)

    def watch(policy: Callable[[Tensor], Tensor], step: int) -> None:
        if protocol.evaluate_every and step % protocol.evaluate_every == 0:
            curve["step"].append(step)
            curve["score"].append(evaluated(policy).normalized_score)

    policy = _train(protocol, rows, rewards, seed, checkout, watch)
    seconds = time.perf_counter() - start
    row = evaluated_row("the paper's code", data, seed, evaluated(policy), seconds)
    return [row | {"curve": curve} if protocol.evaluate_every else row]


def _train(
    protocol: Protocol,
    rows: Transitions,
    rewards: Tensor,
    seed: int,
    checkout: Path,
    watch: Callable[[Callable[[Tensor], Tensor], int], None],
) -> Callable[[Tensor], Tensor]:
    sizes = rows.observations.shape[1], rows.actions.shape[1]
    code = PaperCode(checkout, *sizes, beta=protocol.beta, policy_steps=protocol.policy_steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic, behavior, policy = code.critic(), code.behavior(), code.policy()

        def repeat(
            step: Callable[[dict[str, Tensor]], None],
            steps: int,
            batch_size: int,
            purpose: str,
            after: Callable[[int], None] = lambda step: None,
        ) -> None:
            sampler = EpochSampler(len(rows), batch_size, seed=seed, purpose=purpose)
            for index in range(steps):
                chosen = sampler(index)
                step(as_paper_batch(rows.select(chosen)) | {"r": rewards[chosen][:, None]})
                after(index + 1)

        repeat(critic.update_q0, protocol.critic_steps, 256, "critic")
        repeat(
            behavior.update_behavior, protocol.behavior_steps, protocol.behavior_batch, "behavior"
        )
        policy.diffusion_behavior.load_state_dict(behavior.diffusion_behavior.state_dict())
        policy.q[0].load_state_dict(critic.state_dict())
        watched = partial(watch, policy.SRPO_policy)
        repeat(policy.update_SRPO_policy, protocol.policy_steps, 256, "policy", watched)
    return policy.SRPO_policy
