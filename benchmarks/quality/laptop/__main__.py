"""Scores of the `laptop` preset: one setting for every file, beside the data and clones of it.

python -m benchmarks.quality.laptop --data FILE [FILE ...] --run-dir DIR --output laptop.json

What is finished in the run directory is not trained again, so the runs may be spread over days, and
with `--earlier` over machines.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from benchmarks.machine import machine, public_command
from benchmarks.paper_code import checked_checkout
from benchmarks.quality.command import each_once, plain_errors
from benchmarks.quality.laptop.beside import Run, rows_beside
from benchmarks.quality.laptop.runs import config_of, rows_of
from benchmarks.quality.laptop.table import differences, markdown, verdicts
from benchmarks.quality.scores.rows import Row
from scoreregs_offline_rl import load_data
from scoreregs_offline_rl.files import load_json, save_json

# What an output says of itself, and not of how it was measured.
_OWN = ("rows", "verdicts", "earlier")


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
    beside: tuple[Literal["td3_bc", "rebrac", "dtql", "selection", "paper"], ...] = ()
    """Methods that are run on the same files and seeds."""
    paper_code: Path | None = None
    """A checkout of github.com/thu-ml/SRPO, for `--beside paper`."""
    earlier: tuple[Path, ...] = ()
    """Outputs whose rows are taken over where this run directory has none."""


def joined(outputs: list[list[Row]]) -> list[Row]:
    """Returns the rows of several outputs, by file, seed and method; a later one's count.

    Example:
        >>> row = {"file": "f", "seed": 0, "method": "data"}
        >>> joined([[row | {"score": 1.0}], [row | {"score": 2.0}]])[0]["score"]
        2.0
    """
    found = {(r["file"], r["seed"], r["method"]): r for rows in outputs for r in rows}
    files = list(dict.fromkeys(file for file, _, _ in found))
    return sorted(found.values(), key=lambda row: (files.index(row["file"]), row["seed"]))


def _origins(output: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns how an output's rows were measured: those that it took over, and its own."""
    return [*output.get("earlier", ()), {k: v for k, v in output.items() if k not in _OWN}]


def _rows(arguments: Arguments, data: Path, seed: int) -> list[Row]:
    folder, finished_only = arguments.run_dir / data.stem / str(seed), arguments.finished_only
    config = config_of(data, seed, episodes=arguments.episodes, minutes=arguments.minutes)
    rows = rows_of(config, data, folder, finished_only=finished_only)
    run = Run(data, folder, config, arguments.paper_code)
    return rows + rows_beside(run, arguments.beside, finished_only=finished_only)


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is missing, writes the results and prints the tables."""
    words = list(sys.argv[1:] if words is None else words)
    arguments = tyro.cli(Arguments, args=words)
    with plain_errors():
        each_once("--seeds", arguments.seeds)
        each_once("--data (without folder and ending)", [path.stem for path in arguments.data])
        if "paper" in arguments.beside and not arguments.finished_only:
            checked_checkout(arguments.paper_code)
        before = [load_json(path) for path in arguments.earlier]
        for path in arguments.data:
            load_data(path)
        own = [
            row
            for data in arguments.data
            for seed in arguments.seeds
            for row in _rows(arguments, data, seed)
        ]
    rows = joined([*(output["rows"] for output in before), own])
    content = {
        "command": public_command("benchmarks.quality.laptop", words),
        "threads": torch.get_num_threads(),
        **machine(),
        "earlier": [each for output in before for each in _origins(output)],
        "verdicts": verdicts(rows),
        "rows": rows,
    }
    save_json(arguments.output, content)
    print(markdown(rows))
    print(f"\nWhat is handed over, less each:\n\n{differences(rows)}")
    print(f"\nverdicts: {content['verdicts']}")


if __name__ == "__main__":
    main()
