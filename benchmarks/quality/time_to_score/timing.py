"""Seconds of a step of each setting, ours and the paper's, measured in turns."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from benchmarks.paper_code import PaperCode, as_paper_batch
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.time_to_score.settings import Setting
from benchmarks.stages import fresh_stage
from scoreregs_offline_rl import (
    BehaviorStage,
    CriticStage,
    PolicyStage,
    Stage,
    TrainConfig,
    Transitions,
)
from scoreregs_offline_rl.training.inputs import SeedInputs
from scoreregs_offline_rl.training.step import TrainingStep

__all__ = ["Steps", "our_steps", "paper_steps", "step_seconds"]

Steps = Mapping[str, Callable[[], Any]]


def our_steps(setting: Setting, data: Transitions) -> Steps:
    """Returns a step of each stage, with its drawing of rows and noise."""
    config = setting.protocol.config(Path(data.source), 0)
    config = replace(config, policy=replace(config.policy, **setting.policy))
    sizes = data.observations.shape[1], data.actions.shape[1]
    return {
        kind.name: _step(fresh_stage(kind.name, config, sizes), config, data)
        for kind in (CriticStage, BehaviorStage, PolicyStage)
    }


def _step(stage: Stage[Any], config: TrainConfig, data: Transitions) -> Callable[[], Any]:
    batch_size = getattr(config, stage.name).batch_size
    inputs = SeedInputs(stage, data, batch_size, seed=0, part=slice(None))
    step = TrainingStep(stage, inputs, Accelerator(cpu=True, step_scheduler_with_optimizer=False))
    counter = iter(range(10**9))
    return lambda: step(next(counter))


def paper_steps(protocol: Protocol, data: Transitions, checkout: Path) -> Steps:
    """Returns a step of each of its models, which are given one batch again and again."""
    sizes = data.observations.shape[1], data.actions.shape[1]
    code = PaperCode(checkout, *sizes, beta=protocol.beta)
    batch = as_paper_batch(data.select(torch.arange(256)))
    critic, behavior, policy = code.critic(), code.behavior(), code.policy()
    return {
        "critic": lambda: critic.update_q0(batch),
        "behavior": lambda: behavior.update_behavior(batch),
        "policy": lambda: policy.update_SRPO_policy(batch),
    }


def step_seconds(
    steps: Mapping[str, Steps], *, turns: int = 15, each: int = 10
) -> dict[str, dict[str, float]]:
    """Returns the median seconds of a step by setting and stage.

    Everybody takes `each` steps in every turn, so that a machine that slows down slows all.
    """
    found: dict[str, dict[str, list[float]]] = {
        label: {name: [] for name in its} for label, its in steps.items()
    }
    for turn in range(turns + 1):
        for label, its in steps.items():
            for name, step in its.items():
                start = time.perf_counter()
                for _ in range(each):
                    step()
                # The first turn warms up.
                if turn:
                    found[label][name].append((time.perf_counter() - start) / each)
    return {
        label: {name: float(np.median(seconds)) for name, seconds in its.items()}
        for label, its in found.items()
    }
