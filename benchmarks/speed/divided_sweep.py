"""A sweep that is divided over processes of one thread each, beside the same sweep in one of them.

    python -m benchmarks.speed.divided_sweep --data FILE --run-dir runs/divided --output out.json

Commands are measured from their start to their end, Python's own start included, and in turn, so
that what else the machine does falls on all numbers of processes. Weights are compared with those
of the first number.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import tyro

from benchmarks.machine import machine, public_command
from scoreregs_offline_rl.files import load_json, load_tensors, save_json

__all__ = ["differences", "words_of"]

SEEDS = tuple(range(4))
STAGES = ("critic", "behavior", "cloning", "policy")


@dataclass(frozen=True)
class Arguments:
    """A sweep divided over processes of one thread each."""

    data: str
    """As of `train`."""
    run_dir: Path
    """An empty folder."""
    output: Path
    """The JSON that is written."""
    steps: tuple[int, int, int, int] = (800, 400, 400, 100)
    """Of critic, behavior model, clone and policy, with the laptop preset's sizes."""
    seeds: tuple[int, ...] = SEEDS
    """Of the sweep."""
    betas: tuple[float, ...] = (0.1,)
    """Of the sweep."""
    processes: tuple[int, ...] = (1, 2)
    """Numbers of processes, the first of which the others are beside."""
    rounds: int = 3
    """How often each is measured."""


def words_of(arguments: Arguments, processes: int, run_dir: Path) -> list[str]:
    """Returns the command of a sweep.

    Args:
        arguments: what is swept.
        processes: how many there are.
        run_dir: where it goes.
    """
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words += ["--nproc-per-node", str(processes), "-m", "scoreregs_offline_rl", "sweep"]
    words += ["--data", arguments.data, "--run-dir", str(run_dir), "--stages", *STAGES]
    words += ["--seeds", *map(str, arguments.seeds), "--betas", *map(str, arguments.betas)]
    for stage, steps in zip(STAGES, arguments.steps, strict=True):
        words.append(f"--{stage}.steps={steps}")
    return [*words, "--evaluation.episodes=0", "--trainer.cpu", "--trainer.compile=False"]


def differences(one: Path, other: Path) -> dict[str, float]:
    """Returns the largest difference between the weights of two sweeps, stage by stage."""
    found = {}
    for stage in STAGES:
        pair = [load_tensors(folder / stage / "weights.safetensors") for folder in (one, other)]
        found[stage] = max(float((pair[0][n] - pair[1][n]).abs().max()) for n in pair[0])
    return found


def _measure(arguments: Arguments, processes: int, run_dir: Path) -> tuple[float, float]:
    """Returns the seconds of a command, and of its training alone."""
    start = time.perf_counter()
    words = words_of(arguments, processes, run_dir)
    subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    seconds = time.perf_counter() - start
    stages = load_json(run_dir / "result.json")["stages"].values()
    return seconds, sum(report["seconds"] for report in stages)


def _rows(arguments: Arguments) -> list[dict[str, Any]]:
    """Returns what each number of processes takes."""
    found: dict[int, list[tuple[float, float]]] = {n: [] for n in arguments.processes}
    for index in range(arguments.rounds):
        for processes, its in found.items():
            folder = arguments.run_dir / f"{processes}-{index}"
            its.append(_measure(arguments, processes, folder))
    first = arguments.run_dir / f"{arguments.processes[0]}-0"
    return [
        {
            "processes": processes,
            "seconds": [whole for whole, _ in its],
            "training_seconds": [training for _, training in its],
            "differences": differences(first, arguments.run_dir / f"{processes}-0"),
        }
        for processes, its in found.items()
    ]


def _faster(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    """Returns how many times as fast each row is as the first, the median over rounds."""
    return [median(x / y for x, y in zip(rows[0][name], row[name], strict=True)) for row in rows]


def main() -> None:
    """Measures, writes the result and prints the ratios."""
    arguments = tyro.cli(Arguments)
    rows = _rows(arguments)
    ratios = [_faster(rows, name) for name in ("seconds", "training_seconds")]
    for row, whole, training in zip(rows, *ratios, strict=True):
        row |= {"faster": whole, "training_faster": training}
        count = row["processes"]
        print(f"{count} processes: {whole:.2f} times as fast, {training:.2f} without the start")
    content = {
        "command": public_command("benchmarks.speed.divided_sweep", sys.argv[1:]),
        "threads": 1,
        **machine(),
        "seeds": arguments.seeds,
        "betas": arguments.betas,
        "steps": dict(zip(STAGES, arguments.steps, strict=True)),
        "rows": rows,
    }
    save_json(arguments.output, content)


if __name__ == "__main__":
    main()
