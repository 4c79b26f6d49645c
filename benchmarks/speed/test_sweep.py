"""The paper's sweep, six seeds by six temperatures: as one job, and one after the other.

SCOREREGS_SRPO=checkout pytest benchmarks/speed/test_sweep.py --benchmark-json=sweep.json

A step of the critic or behavior stage is one of six seeds, of the policy stage one of 36 members.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.paper_code import PaperCode, as_paper_batch
from benchmarks.speed.limits import flops_of
from benchmarks.speed.test_stages import one_batch, our_step, stages
from benchmarks.speed.workload import (
    ACTION,
    BATCH,
    OBSERVATION,
    fresh_accelerator,
    make_sweep_stage,
    measure,
    measure_limit,
    random_rows,
)
from scoreregs_offline_rl import SweepGrid
from scoreregs_offline_rl.data.packed import PackedRows
from scoreregs_offline_rl.training.compilation import CompiledGradients
from scoreregs_offline_rl.training.inputs import SeedInputs, StackedInputs
from scoreregs_offline_rl.training.step import TrainingStep

GRID = SweepGrid()
MEMBERS: dict[str, int] = {
    "critic": len(GRID.seeds),
    "behavior": len(GRID.seeds),
    "policy": len(GRID.labels),
}


def sweep_step(name: str, *, compiled: bool = False) -> Callable[[], Any]:
    stage, rows = make_sweep_stage(name, GRID), PackedRows(random_rows(20_000))
    inputs = StackedInputs(
        [SeedInputs(stage, rows, BATCH[name], seed=s, part=slice(None)) for s in GRID.seeds],
        each=MEMBERS[name] // len(GRID.seeds),
    )
    step = TrainingStep(stage, inputs, fresh_accelerator())
    if compiled:
        step.gradients = CompiledGradients(step)
    counter = iter(range(10**9))
    return lambda: step(next(counter))


def repeated(step: Callable[[], Any], times: int) -> Callable[[], None]:
    def several() -> None:
        for _ in range(times):
            step()

    return several


@stages
def test_ours(benchmark: Any, name: str) -> None:
    step = sweep_step(name)
    benchmark.extra_info["flops"] = flops_of(step)
    measure(benchmark, name, step, MEMBERS)


@stages
def test_ours_compiled(benchmark: Any, name: str) -> None:
    measure(benchmark, name, sweep_step(name, compiled=True), MEMBERS)


@stages
def test_ours_one_by_one(benchmark: Any, name: str) -> None:
    measure(benchmark, name, repeated(our_step(name), MEMBERS[name]), MEMBERS)


@stages
def test_limit(benchmark: Any, name: str) -> None:
    measure_limit(benchmark, name, sweep_step(name), MEMBERS)


@stages
def test_paper_code_one_by_one(benchmark: Any, name: str, paper_checkout: Path) -> None:
    code, batch = PaperCode(paper_checkout, OBSERVATION, ACTION), as_paper_batch(one_batch(name))
    made = {"critic": code.critic, "behavior": code.behavior, "policy": code.policy}[name]()
    updates = {"critic": "update_q0", "behavior": "update_behavior", "policy": "update_SRPO_policy"}
    step = getattr(made, updates[name])
    measure(benchmark, name, repeated(lambda: step(batch), MEMBERS[name]), MEMBERS)
