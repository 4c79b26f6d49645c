"""Measure the variance of the estimators of Eq. 15 at equal prior evaluations.

    python -m benchmarks.quality.variance
    python -m benchmarks.quality.variance --quick --output runs/variance

writes variance.json, variance.csv and variance.png to the output folder.
"""

import argparse
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from benchmarks.quality.command import plain_errors
from benchmarks.quality.variance import cases, plot
from benchmarks.quality.variance.cases import Case
from benchmarks.quality.variance.estimators import (
    PAPER,
    RANGE,
    RECOMMENDED,
    draw_plans,
)
from benchmarks.quality.variance.measure import (
    Problem,
    Trace,
    learn_times,
    parameter_problem,
    per_sample_floors,
    per_sample_problem,
    stratified_floor,
    traces,
    warm_up,
)
from benchmarks.quality.variance.table import (
    QUANTITIES,
    Cell,
    Setting,
    as_csv,
    as_markdown,
    cells_of,
    summary,
)
from scoreregs_offline_rl.files import replacing, save_json


@dataclass(frozen=True)
class Budget:
    """How much is measured.

    Attributes:
        dimensions: of the closed-form priors.
        repetitions: of each estimate.
        groups: that they are divided into, for standard errors.
        points: x at which the per-sample estimate is repeated.
        warm_up: batches that c*(t) and the adaptive times learn from.
        behavior_steps: training of the pendulum's behavior model.
        policy_steps: regression of the policies.
        floor: times and noises of the per-sample floors.
    """

    dimensions: tuple[int, ...] = (2, 8, 64)
    repetitions: int = 192
    groups: int = 16
    points: int = 32
    warm_up: int = 100
    behavior_steps: int = 3000
    policy_steps: int = 300
    floor: tuple[int, int] = (32, 256)


QUICK = Budget((2,), 16, 4, 4, 10, 10, 10, (8, 16))


@dataclass
class Report:
    """What has been measured so far."""

    cells: list[Cell]
    floors: list[dict[str, Any]]
    learning: list[dict[str, Any]]


def measure(case: Case, budget: Budget, seed: int, report: Report) -> None:
    """Measures both estimates of a case."""
    problems = per_sample_problem(case, budget.points), parameter_problem(case)
    for quantity, problem in zip(QUANTITIES, problems, strict=True):
        plans = draw_plans(case.model.schedule, antithetic=problem.draws > 1)
        uniform = plans[0]
        generator = torch.Generator().manual_seed(seed)
        learned = warm_up(problem, uniform, budget.warm_up, generator)
        counts = budget.repetitions, budget.groups
        found: dict[Setting, Trace] = {}
        for plan in plans:
            learn_times(problem, plan, learned[RECOMMENDED[1]], budget.warm_up, generator)
            for name, trace in traces(problem, plan, learned, *counts, generator).items():
                found[plan.name, name] = trace
        cells = cells_of(quantity, case.prior, case.place, found)
        report.cells += cells
        where = {"quantity": quantity, "prior": case.prior, "place": case.place}
        if problem.draws > 1:
            floors = per_sample_floors(problem, *budget.floor, generator)
        else:
            baseline = learned["optimal_noise"]
            floor = stratified_floor(problem, uniform, baseline, *counts, generator)
            floors = {"scalar": floor.value}
        scaled = {name: floor / found[PAPER].value for name, floor in floors.items()}
        report.floors.append({**where, **scaled})
        report.learning.append({**where, **learning(problem, budget, seed, found[PAPER].value)})
        ratio = next(c.ratio for c in cells if c.setting == RECOMMENDED)
        print(f"{case.name}, {quantity}: {ratio:.3f}, floor {scaled['scalar']:.3f}", flush=True)


def learning(problem: Problem, budget: Budget, seed: int, paper: float) -> dict[str, float]:
    """Returns the ratio of the recommended setting after a few batches of warm-up."""
    found = {}
    for batches in (1, 10):
        generator = torch.Generator().manual_seed(seed + 1)
        plans = draw_plans(problem.prior.schedule, antithetic=False)
        draws = next(plan for plan in plans if plan.name == RECOMMENDED[0])
        learned = warm_up(problem, draws, batches, generator)
        learn_times(problem, draws, learned[RECOMMENDED[1]], batches, generator)
        chosen = {RECOMMENDED[1]: learned[RECOMMENDED[1]]}
        counts = budget.repetitions // 2, budget.groups
        trace = traces(problem, draws, chosen, *counts, generator)[RECOMMENDED[1]]
        found[f"after_{batches}"] = trace.value / paper
    return found


def chosen_cases(arguments: argparse.Namespace, budget: Budget) -> Iterator[Case]:
    """Returns the cases that the command line asks for."""
    steps, seed = budget.policy_steps, arguments.seed
    found = [cases.closed_form(budget.dimensions, steps, seed)]
    found.append(cases.pendulum(budget.behavior_steps, steps, seed))
    if arguments.run_dir is not None:
        found.append(cases.trained_run(arguments.run_dir, steps, seed))
    if arguments.paper_behavior is not None:
        found.append(cases.paper_weights(arguments.paper_behavior, arguments.data, steps, seed))
    return chain.from_iterable(found)


def metadata_of(arguments: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    """Returns command (files by their names alone), seed, sizes, versions and threads."""
    words = [Path(a).name if "/" in a else a for a in sys.argv[1:]]
    versions = {name: metadata.version(name) for name in ("torch", "numpy", "scoreregs")}
    return {
        "command": " ".join(["python -m benchmarks.quality.variance", *words]),
        "seed": arguments.seed,
        "weighting": "sigma2",
        "schedule": "VP",
        "times": RANGE,
        "budget": asdict(budget),
        "paper": PAPER,
        "recommended": RECOMMENDED,
        "versions": {"python": platform.python_version(), **versions},
        "threads": torch.get_num_threads(),
    }


def parsed() -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="seconds, and figures to no purpose")
    parser.add_argument(
        "--run-dir", type=Path, help="a finished run, whose behavior model is added"
    )
    parser.add_argument("--paper-behavior", type=Path, help="a behavior checkpoint of the paper's")
    parser.add_argument("--data", type=Path, help="the HDF5 file that it was fit to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/variance"))
    arguments = parser.parse_args()
    if (arguments.paper_behavior is None) != (arguments.data is None):
        parser.error("--paper-behavior and --data go together")
    return arguments


def write(report: Report, arguments: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    """Writes the figures so far, and returns what they say of each setting."""
    settings = {" | ".join(s): row for s, row in summary(report.cells).items()}
    content = {
        **metadata_of(arguments, budget),
        "settings": settings,
        "floors": report.floors,
        "warm_up": report.learning,
        "cells": [asdict(cell) for cell in report.cells],
    }
    save_json(arguments.output / "variance.json", content)
    with replacing(arguments.output / "variance.csv") as partial:
        partial.write_text(as_csv(report.cells))
    return settings


def main() -> None:
    """Measures, prints the table and writes the files, after every case what there is."""
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    budget = QUICK if arguments.quick else Budget()
    report, settings = Report([], [], []), {}
    with plain_errors():
        for case in chosen_cases(arguments, budget):
            measure(case, budget, arguments.seed, report)
            settings = write(report, arguments, budget)
    plot.draw(report.cells, arguments.output / "variance.png")
    print("\n".join(as_markdown(report.cells, RECOMMENDED, report.floors)))
    print(settings[" | ".join(RECOMMENDED)])


if __name__ == "__main__":
    main()
