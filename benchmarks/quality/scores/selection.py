"""Acting by selection, as IDQL does (Hansen-Estruch et al., 2023): the best of several samples.

Critic and behavior model are those that ours extracts its policy from. Acting takes hundreds of
times as many evaluations of a network, so that it has fewer episodes.
"""

from pathlib import Path
from typing import cast

import numpy as np
import torch

from benchmarks.diffusion_policy import DiffusionPolicy
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.rows import Row, evaluated_row
from scoreregs_offline_rl import (
    BehaviorStage,
    CriticStage,
    PolicyStage,
    RunModels,
    evaluate,
    load_models,
)
from scoreregs_offline_rl.evaluation.rollouts import Policy
from scoreregs_offline_rl.files import load_json

__all__ = ["run_selection", "selecting_policy"]


def run_selection(protocol: Protocol, data: Path, seed: int, ours: Path) -> list[Row]:
    """Returns the row of selection with the models of our run.

    Raises:
        RunError: The directory holds no finished run.
    """
    models, stages = load_models(ours), load_json(ours / "result.json")["stages"]
    environment = models.config.evaluation.environment or ""
    found = evaluate(
        selecting_policy(models, candidates=protocol.candidates),
        environment,
        protocol.selection_episodes,
    )
    seconds = sum(stages[stage.name]["seconds"] for stage in (CriticStage, BehaviorStage))
    return [evaluated_row("selection among behavior samples", data, seed, found, seconds)]


def selecting_policy(models: RunModels, *, candidates: int) -> Policy:
    """Returns the policy that takes the best of so many samples, in the environment's units."""
    behavior = cast(BehaviorStage, models.stages[BehaviorStage.name])
    agent = models.policies[PolicyStage.name]
    choose = DiffusionPolicy(
        behavior.prior.epsilon,
        models.critic,
        action_size=len(agent.action_scaling.low),
        sampler="DPM-Solver",
        steps=15,
        candidates=candidates,
    )

    def act(observations: np.ndarray) -> np.ndarray:
        scaled = agent.observation_scaling(torch.as_tensor(observations, dtype=torch.float32))
        return agent.action_scaling.denormalize(choose(scaled)).numpy()

    return act
