"""Scores of the offline-RL integration beside what it is compared with.

python -m benchmarks.quality.scores --data FILE [FILE ...] --run-dir DIR --output scores.json

What is finished in the run directory is not trained again, so several processes may share it, each
with seeds of its own, and the same command with all seeds then gathers them.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import tyro

from benchmarks.machine import machine, public_command
from benchmarks.paper_code import checked_checkout
from benchmarks.quality.command import each_once, plain_errors
from benchmarks.quality.scores.methods import run_ours
from benchmarks.quality.scores.paper import run_paper
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.rows import Row, kept_rows
from benchmarks.quality.scores.selection import run_selection
from benchmarks.quality.scores.table import markdown
from scoreregs_offline_rl import load_data
from scoreregs_offline_rl.files import save_json


@dataclass(frozen=True)
class Arguments:
    """Scores of the offline-RL integration beside what it is compared with."""

    data: tuple[Path, ...]
    """Files in D4RL's layout."""
    run_dir: Path
    """Where runs are kept and found again."""
    output: Path
    """The JSON that is written."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of weights, batches and noise."""
    paper_code: Path | None = None
    """A checkout of github.com/thu-ml/SRPO, to run beside."""
    paper_data: tuple[str, ...] = ()
    """Stems of the files that it is run on."""
    protocol: Protocol = field(default_factory=Protocol)


def rows_of(arguments: Arguments, data: Path, seed: int) -> list[Row]:
    """Returns every method's rows on one file with one seed."""
    protocol, folder = arguments.protocol, arguments.run_dir / data.stem / str(seed)
    rows = run_ours(protocol, data, seed, folder / "ours")
    rows += kept_rows(
        folder / "selection.json", lambda: run_selection(protocol, data, seed, folder / "ours")
    )
    if arguments.paper_code is not None and data.stem in arguments.paper_data:
        checkout = arguments.paper_code
        kept = folder / "paper.json"
        rows += kept_rows(kept, lambda: run_paper(protocol, data, seed, checkout))
    return rows


def main(words: Sequence[str] | None = None) -> None:
    """Runs what is missing, writes the results and prints the table."""
    words = list(sys.argv[1:] if words is None else words)
    arguments = tyro.cli(Arguments, args=words)
    with plain_errors():
        _check(arguments)
        rows = [
            row
            for data in arguments.data
            for seed in arguments.seeds
            for row in rows_of(arguments, data, seed)
        ]
    content = {
        "command": public_command("benchmarks.quality.scores", words),
        "protocol": asdict(arguments.protocol),
        "threads": torch.get_num_threads(),
        **machine(),
        "rows": rows,
    }
    save_json(arguments.output, content)
    print(markdown(rows))


def _check(arguments: Arguments) -> None:
    each_once("--seeds", arguments.seeds)
    # A file's runs are kept under its stem.
    each_once("--data (without folder and ending)", [path.stem for path in arguments.data])
    if arguments.paper_code is not None:
        checked_checkout(arguments.paper_code)
    for path in arguments.data:
        load_data(path)


if __name__ == "__main__":
    main()
