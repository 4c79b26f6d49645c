"""Evaluation of several policies in one pass, finished or while they train."""

import copy
from collections.abc import Sequence

import numpy as np
import torch

from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult, evaluate_members
from scoreregs_offline_rl.runs.configuration import EvaluationConfig
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.stacking import stack
from scoreregs_offline_rl.training.trainer import StageMonitor

__all__ = ["evaluate_policies", "learning_curve"]


def evaluate_policies(
    policies: Sequence[DiracPolicy],
    observations: ObservationScaling,
    actions: ActionScaling,
    config: EvaluationConfig,
) -> list[EvaluationResult]:
    """The evaluation of each policy, none without an environment or episodes.

    Args:
        policies: Of equal sizes, on any device; they are left as they are.
        observations: What the policies see observations through.
        actions: What their actions are scaled by.
        config: Where, for how many episodes.
    """
    if config.environment is None or config.episodes == 0:
        return []
    members = len(policies)
    stacked = stack([copy.deepcopy(policy).cpu() for policy in policies])

    @torch.no_grad()
    def act(states: np.ndarray) -> np.ndarray:
        scaled = observations(torch.as_tensor(states, dtype=torch.float32))
        return actions.denormalize(
            stacked(scaled.unflatten(0, (members, -1))).flatten(0, 1)
        ).numpy()

    return evaluate_members(act, members, config.environment, config.episodes, config.seed)


def learning_curve(
    policies: Sequence[DiracPolicy],
    observations: ObservationScaling,
    actions: ActionScaling,
    config: EvaluationConfig,
    labels: Sequence[str] = ("",),
) -> StageMonitor:
    """A monitor that evaluates policies as `EvaluationConfig.every` asks.

    Its metric is `score`, or `return` where the task has no reference returns.

    Args:
        policies: As of `evaluate_policies`, like the next three; they are those that train.
        observations: See there.
        actions: See there.
        config: See there.
        labels: What follows the metric's name, one for each of several policies.
    """

    def monitor(step: int) -> dict[str, float]:
        if config.every == 0 or step % config.every:
            return {}
        metrics = {}
        results = evaluate_policies(policies, observations, actions, config)
        for label, result in zip(labels if results else (), results, strict=True):
            score = result.normalized_score
            name, value = ("return", result.mean) if score is None else ("score", score)
            metrics["/".join(filter(None, (name, label)))] = value
        return metrics

    return monitor
