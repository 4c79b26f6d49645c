"""Scores of the `laptop` preset: one setting for every file, beside the data and clones of it.

python -m benchmarks.quality.laptop --data FILE [FILE ...] --run-dir DIR --output laptop.json

What is finished in the run directory is not trained again, so the runs may be spread over days.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.machine import machine, public_command
from benchmarks.quality.command import each_once, plain_errors
from benchmarks.quality.laptop.runs import rows_of
from benchmarks.quality.laptop.table import markdown, verdicts
from scoreregs_offline_rl import load_data
from scoreregs_offline_rl.files import save_json


@dataclass(frozen=True)
class Arguments:
    """Scores of the laptop preset beside the data and clones of it."""

    data: tuple[Path, ...]
    """Files in D4RL's layout."""
    run_dir: Path
    """Where runs are kept and found again."""
    output: Path
    """The JSON that is written."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of weights, batches and noise."""
    episodes: int = 20
    """Of an evaluation, of the last checkpoint."""
    minutes: float | None = None
    """What a run may take, see `TrainConfig`; None: the preset's steps."""
    finished_only: bool = False
    """Gather the runs that are finished, and train none."""


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is missing, writes the results and prints the tables."""
    words = list(sys.argv[1:] if words is None else words)
    arguments = tyro.cli(Arguments, args=words)
    with plain_errors():
        each_once("--seeds", arguments.seeds)
        each_once("--data (without folder and ending)", [path.stem for path in arguments.data])
        for path in arguments.data:
            load_data(path)
        rows = [
            row
            for data in arguments.data
            for seed in arguments.seeds
            for row in rows_of(
                data,
                seed,
                arguments.run_dir / data.stem / str(seed),
                episodes=arguments.episodes,
                minutes=arguments.minutes,
                finished_only=arguments.finished_only,
            )
        ]
    content = {
        "command": public_command("benchmarks.quality.laptop", words),
        "threads": torch.get_num_threads(),
        **machine(),
        "verdicts": verdicts(rows),
        "rows": rows,
    }
    save_json(arguments.output, content)
    print(markdown(rows))
    print(f"\nverdicts: {content['verdicts']}")


if __name__ == "__main__":
    main()
