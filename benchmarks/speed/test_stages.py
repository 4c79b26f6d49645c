"""A step of each stage at the paper's sizes, beside plain torch, the paper's code and a limit.

    SCOREREGS_SRPO=path/to/SRPO pytest benchmarks/speed/test_stages.py --benchmark-json=stages.json

Ours draws its batch and its seeded noise and goes through Accelerate; the other rows are given
their batch. The rows of a stage follow each other, for a machine is not equally fast all the time.
SCOREREGS_CORL and SCOREREGS_CLEANDIFFUSER name checkouts of two further
peers; what their steps hold beyond ours is said in `benchmarks.peers`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.paper_code import PaperCode, as_paper_batch
from benchmarks.peers import behavior_step_of_cleandiffuser, critic_step_of_corl
from benchmarks.speed.limits import flops_of
from benchmarks.speed.plain import PLAIN
from benchmarks.speed.workload import (
    ACTION,
    BATCH,
    DEVICE,
    OBSERVATION,
    fresh_accelerator,
    make_stage,
    measure,
    measure_limit,
    random_rows,
)
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.training.compilation import CompiledGradients
from scoreregs_offline_rl.training.inputs import SeedInputs
from scoreregs_offline_rl.training.step import TrainingStep


def of(*names: str) -> pytest.MarkDecorator:
    """Parametrises by stage, one after the other."""
    return pytest.mark.parametrize("name", names, scope="module")


stages = of(*BATCH)


def one_batch(name: str) -> Batch:
    return random_rows(20_000).select(torch.arange(BATCH[name], device=DEVICE))


def checkout(variable: str, repository: str) -> Path:
    if variable not in os.environ:
        pytest.skip(f"{variable} names no checkout of github.com/{repository}")
    return Path(os.environ[variable])


def our_step(name: str, *, compiled: bool = False, precision: str = "no") -> Callable[[], Any]:
    accelerator = fresh_accelerator(precision)
    stage, rows = make_stage(name), random_rows(20_000)
    inputs = SeedInputs(stage, rows, BATCH[name], seed=0, part=slice(None))
    step = TrainingStep(stage, inputs, accelerator)
    if compiled:
        step.gradients = CompiledGradients(step)
    counter = iter(range(10**9))
    return lambda: step(next(counter))


@stages
def test_ours(benchmark: Any, name: str) -> None:
    step = our_step(name)
    benchmark.extra_info["flops"] = flops_of(step)
    measure(benchmark, name, step)


@stages
def test_ours_compiled(benchmark: Any, name: str) -> None:
    measure(benchmark, name, our_step(name, compiled=True))


@stages
def test_ours_bf16(benchmark: Any, name: str) -> None:
    """Compiled, as where a stage is trained for long."""
    measure(benchmark, name, our_step(name, compiled=True, precision="bf16"))


@stages
def test_plain_torch(benchmark: Any, name: str) -> None:
    step, batch = PLAIN[name](), one_batch(name)
    measure(benchmark, name, lambda: step(batch))


@stages
def test_limit(benchmark: Any, name: str) -> None:
    measure_limit(benchmark, name, our_step(name))


@stages
def test_limit_bf16(benchmark: Any, name: str) -> None:
    measure_limit(benchmark, name, our_step(name, precision="bf16"))


def paper_step(name: str, checkout: Path) -> Callable[[], Any]:
    code = PaperCode(checkout, OBSERVATION, ACTION)
    batch = as_paper_batch(one_batch(name))
    steps = {
        "critic": lambda: code.critic().update_q0,
        "behavior": lambda: code.behavior().update_behavior,
        "policy": lambda: code.policy().update_SRPO_policy,
    }
    step = steps[name]()
    return lambda: step(batch)


@stages
def test_paper_code(benchmark: Any, name: str, paper_checkout: Path) -> None:
    measure(benchmark, name, paper_step(name, paper_checkout))


@of("critic")
def test_corl_iql(benchmark: Any, name: str) -> None:
    path = checkout("SCOREREGS_CORL", "tinkoff-ai/CORL")
    step = critic_step_of_corl(path, one_batch(name))
    benchmark.extra_info["flops"] = flops_of(step)
    measure(benchmark, name, step)


@of("behavior")
def test_cleandiffuser(benchmark: Any, name: str) -> None:
    path = checkout("SCOREREGS_CLEANDIFFUSER", "CleanDiffuserTeam/CleanDiffuser")
    step = behavior_step_of_cleandiffuser(path, one_batch(name))
    benchmark.extra_info["flops"] = flops_of(step)
    measure(benchmark, name, step)
