"""Evaluation of several policies in one pass, finished or while they train."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.evaluation.rollouts import (
    MOST,
    TOGETHER,
    EvaluationResult,
    Policy,
    evaluate_members,
)
from scoreregs_offline_rl.evaluation.settings import EvaluationConfig
from scoreregs_offline_rl.stages.networks import DiracPolicy

__all__ = ["evaluate_agents", "evaluate_policies", "learning_curve"]


def evaluate_policies(
    policies: DiracPolicy,
    members: int,
    observations: ObservationScaling,
    actions: ActionScaling,
    config: EvaluationConfig,
) -> list[EvaluationResult]:
    """Returns the evaluation of each policy, none without an environment or episodes.

    Args:
        policies: stacked, or one by itself; on any device, and left as they are.
        members: how many are stacked; 0 for one by itself.
        observations: what the policies see observations through.
        actions: what their actions are scaled by.
        config: where, for how many episodes.
    """
    if config.environment is None or config.episodes == 0:
        return []
    at_home = next(policies.parameters()).device.type == "cpu"
    acting = policies if at_home else copy.deepcopy(policies).cpu()
    lead = (members,) if members else ()

    @torch.no_grad()
    def act(states: np.ndarray) -> np.ndarray:
        scaled = observations(torch.as_tensor(states, dtype=torch.float32))
        found = acting(scaled.unflatten(0, (*lead, -1))).flatten(0, len(lead))
        return actions.denormalize(found).numpy()

    episodes, seed = config.episodes, config.seed
    return evaluate_members(act, members or 1, config.environment, episodes, seed)


def evaluate_agents(policies: Sequence[Policy], config: EvaluationConfig) -> list[EvaluationResult]:
    """Returns the evaluation of each policy, to the bit as `evaluate` gives it, in one pass.

    Each is called on its own rows, as many as by itself; what they share is the environment.

    Args:
        policies: as of `evaluate`.
        config: where, for how many episodes; none without an environment or episodes.
    """
    if config.environment is None or config.episodes == 0:
        return []
    how, each = (config.environment, config.episodes, config.seed), min(TOGETHER, config.episodes)
    found: list[EvaluationResult] = []
    for first in range(0, len(policies), MOST // each):
        group = policies[first : first + MOST // each]
        act = partial(_act_by_turns, group)
        found += evaluate_members(act, len(group), *how, parallel=each * len(group))
    return found


def _act_by_turns(policies: Sequence[Policy], states: np.ndarray) -> np.ndarray:
    parts = np.split(states, len(policies))
    return np.concatenate([own(part) for own, part in zip(policies, parts, strict=True)])


def learning_curve(
    policies: DiracPolicy,
    observations: ObservationScaling,
    actions: ActionScaling,
    config: EvaluationConfig,
    labels: Sequence[str] = (),
) -> Callable[[int], dict[str, float]]:
    """Returns a monitor that evaluates policies as `EvaluationConfig.every` asks.

    Its metric is `score`, or `return` where the task has no reference returns.

    Args:
        policies: as of `evaluate_policies`, like the next three; they are those that train.
        observations: see there.
        actions: see there.
        config: see there.
        labels: what follows the metric's name, one for each of stacked policies.
    """

    def monitor(step: int) -> dict[str, float]:
        if config.every == 0 or step % config.every:
            return {}
        metrics = {}
        results = evaluate_policies(policies, len(labels), observations, actions, config)
        for label, result in zip((labels or ("",)) if results else (), results, strict=True):
            score = result.normalized_score
            name, value = ("return", result.mean) if score is None else ("score", score)
            metrics["/".join(filter(None, (name, label)))] = value
        return metrics

    return monitor
