"""The paper's sizes: 17 observation and 6 action dimensions, its batches, rows to draw from."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from benchmarks.speed.limits import MatrixProducts, bandwidth
from benchmarks.stages import fresh_stage
from scoreregs_offline_rl import Stage, SweepGrid, TrainConfig, Transitions
from scoreregs_offline_rl.runs.building import give, stacked
from scoreregs_offline_rl.stages.stacking import stack

__all__ = [
    "ACTION",
    "BATCH",
    "DEVICE",
    "OBSERVATION",
    "fresh_accelerator",
    "make_stage",
    "make_sweep_stage",
    "measure",
    "measure_limit",
    "random_rows",
    "waited",
]

OBSERVATION, ACTION = 17, 6
CONFIG = TrainConfig("random rows", beta=0.01)
BATCH: dict[str, int] = {"critic": 256, "behavior": 2048, "policy": 256}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ONE: Mapping[str, int] = MappingProxyType({"critic": 1, "behavior": 1, "policy": 1})
_ROUNDS: dict[str, int] = {"critic": 300, "behavior": 30, "policy": 150}


def fresh_accelerator(precision: str = "no") -> Accelerator:
    """Returns an Accelerator that knows nothing of the precision of the one before it."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=precision, step_scheduler_with_optimizer=False)


def make_stage(name: str) -> Stage[Any]:
    """Returns a stage of the paper's sizes with weights of a seed."""
    return fresh_stage(name, CONFIG, (OBSERVATION, ACTION), DEVICE)


def make_sweep_stage(name: str, grid: SweepGrid) -> Stage[Any]:
    """Returns the stage of all members of a sweep, as the pipeline has it."""
    seeds, stages = len(grid.seeds), CONFIG.stages()
    if not stages[name].follows_beta:
        return stack([make_stage(name)] * seeds)
    needs = [stages.provider(need).name for need in stages[name].needs]
    finished = {source: make_sweep_stage(source, grid) for source in needs}
    betas = torch.tensor(grid.betas, dtype=torch.float64, device=DEVICE)
    given = replace(give(stages[name], CONFIG, finished), beta=betas)
    return stacked([make_stage(name)] * len(grid.labels), given, seeds)


def random_rows(count: int) -> Transitions:
    """Returns rows of a made-up data set, on the device."""
    generator = torch.Generator().manual_seed(0)
    return Transitions.from_arrays(
        observations=torch.randn(count, OBSERVATION, generator=generator).numpy(),
        actions=(torch.rand(count, ACTION, generator=generator) * 2 - 1).numpy(),
        rewards=torch.randn(count, generator=generator).numpy(),
        terminals=torch.zeros(count, dtype=torch.bool).numpy(),
        timeouts=(torch.arange(count) % 1000 == 999).numpy(),
        next_observations=torch.randn(count, OBSERVATION, generator=generator).numpy(),
    ).to(DEVICE)


def waited(step: Callable[[], Any]) -> Callable[[], None]:
    """Returns a step until the device is done with it."""

    def wait() -> None:
        step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return wait


def measure(
    benchmark: Any, name: str, step: Callable[[], Any], members: Mapping[str, int] = ONE
) -> None:
    """Times a step of a stage, or of so many members of it, in the group of its like."""
    its = members[name]
    many = f" of {its}, batch {BATCH[name]} each" if its > 1 else f", batch {BATCH[name]}"
    benchmark.group = f"{name} step{many}"
    rounds = max(_ROUNDS[name] // its, 10)
    benchmark.pedantic(
        waited(step), rounds=rounds, warmup_rounds=10 if its == 1 else 3, iterations=1
    )


def measure_limit(
    benchmark: Any, name: str, step: Callable[[], Any], members: Mapping[str, int] = ONE
) -> None:
    """Times the matrix products of a step, and notes what their bytes come to."""
    with MatrixProducts() as products:
        step()
    seconds = products.bytes / bandwidth(DEVICE)
    benchmark.extra_info |= {"bytes": products.bytes, "bytes_seconds": seconds}
    measure(benchmark, name, products.run, members)
