"""A training step of each stage at the paper's sizes, beside the paper's code.

SCOREREGS_SRPO=path/to/SRPO pytest benchmarks/speed --benchmark-json=stages.json
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from benchmarks.paper_code import PaperCode, as_paper_batch
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.runs.configuration import BehaviorConfig, CriticConfig, PolicyConfig
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.stage import Stage
from scoreregs_offline_rl.training.step import TrainingStep

OBSERVATION, ACTION = 17, 6
BATCH = {"critic": 256, "behavior": 2048, "policy": 256}
ROUNDS = {"critic": 300, "behavior": 30, "policy": 150}


def make_stage(name: str) -> Stage:
    sizes = OBSERVATION, ACTION
    if name == "critic":
        return CriticStage(*sizes, CriticConfig())
    if name == "behavior":
        return BehaviorStage(*sizes, BehaviorConfig())
    critic = CriticStage(*sizes, CriticConfig()).critic
    behavior = BehaviorStage(*sizes, BehaviorConfig()).network
    return PolicyStage(DiracPolicy(*sizes), critic, behavior, PolicyConfig(), beta=0.01)


def random_rows(count: int) -> Transitions:
    generator = torch.Generator().manual_seed(0)
    return Transitions.from_arrays(
        observations=torch.randn(count, OBSERVATION, generator=generator).numpy(),
        actions=(torch.rand(count, ACTION, generator=generator) * 2 - 1).numpy(),
        rewards=torch.randn(count, generator=generator).numpy(),
        terminals=torch.zeros(count, dtype=torch.bool).numpy(),
        timeouts=(torch.arange(count) % 1000 == 999).numpy(),
        next_observations=torch.randn(count, OBSERVATION, generator=generator).numpy(),
    )


def measure(benchmark: Any, name: str, step: Callable[[], Any]) -> None:
    benchmark.group = f"{name} step, batch {BATCH[name]}"
    benchmark.pedantic(step, rounds=ROUNDS[name], warmup_rounds=10, iterations=1)


@pytest.mark.parametrize("name", BATCH)
def test_ours(benchmark: Any, name: str) -> None:
    rows = random_rows(20_000).to(Accelerator().device)
    step = TrainingStep(make_stage(name), rows, BATCH[name], 0, Accelerator(), None)
    counter = iter(range(10**9))
    measure(benchmark, name, lambda: step(next(counter)))


@pytest.mark.parametrize("name", BATCH)
def test_paper_code(benchmark: Any, name: str, paper_checkout: Path) -> None:
    code = PaperCode(paper_checkout, OBSERVATION, ACTION)
    rows = random_rows(20_000).to(code.device)
    batch = as_paper_batch(rows.select(torch.arange(BATCH[name], device=code.device)))
    steps = {
        "critic": lambda: code.critic().update_q0,
        "behavior": lambda: code.behavior().update_behavior,
        "policy": lambda: code.policy().update_SRPO_policy,
    }
    step = steps[name]()
    measure(benchmark, name, lambda: step(batch))
