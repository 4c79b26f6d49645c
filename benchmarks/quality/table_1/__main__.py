"""Table 1 of the paper, with its learning curves (Figures 4 and 11).

    python -m benchmarks.quality.table_1 --run-dir runs/table-1
    python -m benchmarks.quality.table_1 --run-dir runs/table-1 --tasks hopper-medium-v2 --scale .1

Tasks are run one after the other, each as one sweep over its seeds. What is finished in the run
directory is not trained again, and what was interrupted goes on; so the tasks may be spread over
several commands, and the same command with all of them then gathers the table. Data is taken from
D4RL_DATASET_DIR (~/.d4rl/datasets), and downloaded there before anything is trained. A task whose
data or environment cannot be had is told first, is a dash in the table and makes the exit code 1.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import tyro

from benchmarks.machine import machine, public_command
from benchmarks.quality.command import each_once, plain_errors
from benchmarks.quality.paper import style
from benchmarks.quality.paper.outcome import load, save
from benchmarks.quality.table_1.curves import draw
from benchmarks.quality.table_1.published import PUBLISHED
from benchmarks.quality.table_1.runs import Budget, measure, obstacle
from benchmarks.quality.table_1.table import markdown
from scoreregs.errors import ArgumentError

__all__ = ["main"]

_NAME = "table-1"


@dataclass(frozen=True)
class Arguments:
    """Table 1 of the paper, with its learning curves (Figures 4 and 11)."""

    run_dir: Path
    """Where runs are kept and found again, a folder for each task."""
    tasks: tuple[str, ...] = tuple(PUBLISHED)
    """Their D4RL names, as hopper-medium-v2."""
    seeds: tuple[int, ...] = Budget.seeds
    """Of critics, behavior models and policies."""
    scale: float = Budget.scale
    """Share of the paper's steps, in (0, 1]; below 1 the numbers do not compare with the paper."""
    episodes: int = Budget.episodes
    """Of each evaluation."""
    results: Path | None = None
    """Where JSON, CSV files and picture are written; None: the run directory."""
    redraw: bool = False
    """Print and draw what is written there, without running anything."""


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is missing, writes the results, prints the table and draws the curves."""
    words = list(sys.argv[1:] if words is None else words)
    arguments = tyro.cli(Arguments, args=words)
    results = arguments.results or arguments.run_dir
    with plain_errors():
        paths = [] if arguments.redraw else _run(arguments, results, words)
        outcome = load(results, _NAME)
    with style.styled():
        paths.append(results / "figures-4-and-11.png")
        style.save(draw(outcome), paths[-1])
    print(markdown(outcome))
    print("\n".join(f"wrote {path}" for path in paths))
    if outcome.numbers["missing"]:
        raise SystemExit(1)


def _run(arguments: Arguments, results: Path, words: Sequence[str]) -> list[Path]:
    _check(arguments)
    found = {task: obstacle(task) for task in arguments.tasks}
    missing = {task: reason for task, reason in found.items() if reason is not None}
    for task, reason in missing.items():
        print(f"not run: {task}: {reason}", flush=True)
    runnable = [task for task in arguments.tasks if task not in missing]
    if not runnable:
        raise ArgumentError("got no task that can be run here, expected one: mend the above")
    budget = Budget(arguments.scale, arguments.seeds, arguments.episodes)
    outcome = measure(budget, runnable, arguments.run_dir)
    numbers = {"budget": asdict(budget), "missing": missing, **outcome.numbers}
    about = {
        "command": public_command("benchmarks.quality.table_1", words),
        "threads": torch.get_num_threads(),
        **machine(),
    }
    return save(replace(outcome, numbers=numbers), results, _NAME, about)


def _check(arguments: Arguments) -> None:
    unknown = [task for task in arguments.tasks if task not in PUBLISHED]
    if unknown:
        known = ", ".join(PUBLISHED)
        raise ArgumentError(f"got the tasks {', '.join(unknown)}, expected some of {known}")
    each_once("--tasks", arguments.tasks)
    each_once("--seeds", arguments.seeds)
    if min(arguments.seeds) < 0:
        raise ArgumentError(f"got --seeds {min(arguments.seeds)}, expected none below 0")
    if not 0 < arguments.scale <= 1:
        raise ArgumentError(f"got --scale {arguments.scale}, expected a share above 0, at most 1")
    if arguments.episodes < 1:
        raise ArgumentError(f"got --episodes {arguments.episodes}, expected at least 1")


if __name__ == "__main__":
    main()
