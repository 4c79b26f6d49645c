"""The peak memory of the process of each stage, on a million transitions of hopper's size.

python -m benchmarks.speed.memory --output memory.json

Every stage runs in a process of its own, from the file on, as `train` runs it; what a process
takes for its imports alone is in a row beside.
"""

import os
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks.machine import machine, public_command
from scoreregs_offline_rl import EvaluationConfig, TrainConfig, TrainerConfig, preset, train
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.files import save_json
from scoreregs_offline_rl.runs.configuration import usual_stages

__all__ = ["alone", "markdown", "measure", "peak_memory", "write_data"]

OBSERVATION, ACTION, EPISODE = 11, 3, 1000
# The name makes it the task's own file: bounds, temperature and dynamics are hopper's.
_FILE = "hopper-medium-v2.hdf5"


@dataclass(frozen=True)
class Arguments:
    """The peak memory of the process of each stage."""

    output: Path
    """The JSON that is written."""
    rows: int = 1_000_000
    """Transitions, in episodes of 1000."""
    steps: int = 30
    """Gradient steps of a stage."""
    threads: int = 1
    """Of PyTorch."""
    compiled: tuple[bool, ...] = (False, True)
    """Stages with eager networks, and with compiled ones, for which PyTorch needs a compiler."""


def write_data(path: Path, rows: int) -> None:
    """Writes random transitions with the keys and types of D4RL's hopper files."""
    generator = np.random.default_rng(0)
    observations = generator.standard_normal((rows + 1, OBSERVATION), dtype=np.float32)
    last = np.arange(rows) % EPISODE == EPISODE - 1
    arrays = {
        "observations": observations[:-1],
        "actions": 2 * generator.random((rows, ACTION), dtype=np.float32) - 1,
        "rewards": generator.random(rows, dtype=np.float32),
        "terminals": np.zeros(rows, dtype=bool),
        "timeouts": last,
        "next_observations": observations[1:],
    }
    save_hdf5(path, arrays, "Hopper-v4")


def peak_memory() -> int:
    """Returns the largest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux counts in ru_maxrss also the process that this one was forked from.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(arguments: Arguments, folder: Path) -> list[dict[str, Any]]:
    """Returns a row for the imports and one for each stage, eager and compiled."""
    data = folder / _FILE
    alone(write_data, data, arguments.rows)
    rows = [{"process": "imports", "compiled": False, "bytes": alone(peak_memory)}]
    for compiled in arguments.compiled:
        for stage in usual_stages(TrainConfig.stages()):
            run_dir = folder / ("compiled" if compiled else "eager")
            found = alone(_peak_of_stage, arguments, data, run_dir, stage, compiled)
            rows.append({"process": stage, "compiled": compiled, "bytes": found})
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns a Markdown table.

    Example:
        >>> print(markdown([{"process": "critic", "compiled": False, "bytes": 5e8}]))
        | Process | Peak, GB |
        |---|---|
        | critic | 0.50 |
    """
    lines = ["| Process | Peak, GB |", "|---|---|"]
    for row in rows:
        name = row["process"] + (", compiled" if row["compiled"] else "")
        lines.append(f"| {name} | {row['bytes'] / 1e9:.2f} |")
    return "\n".join(lines)


def alone(function: Any, *arguments: Any) -> Any:
    """Returns what a function returns in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _peak_of_stage(
    arguments: Arguments, data: Path, run_dir: Path, stage: str, compiled: bool
) -> int:
    """Trains a stage, after those that it builds on, and returns the peak of this process."""
    # What was compiled before would be taken from its cache, without the memory that it took.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(run_dir / "cache")
    torch.set_num_threads(arguments.threads)
    config, steps = preset(str(data)), arguments.steps
    config = replace(
        config,
        critic=replace(config.critic, steps=steps),
        behavior=replace(config.behavior, steps=steps),
        policy=replace(config.policy, steps=steps),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(cpu=True, compile=compiled),
    )
    train(config, run_dir, stages=[stage])
    return peak_memory()


def main() -> None:
    """Measures, writes the results and prints the table."""
    arguments = tyro.cli(Arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments, Path(folder))
    content = {
        "command": public_command("benchmarks.speed.memory", sys.argv[1:]),
        "seed": 0,
        "threads": arguments.threads,
        **machine(),
        "data": {"rows": arguments.rows, "observation": OBSERVATION, "action": ACTION},
        "steps": arguments.steps,
        "rows": rows,
    }
    save_json(arguments.output, content)
    print(markdown(rows))


if __name__ == "__main__":
    main()
