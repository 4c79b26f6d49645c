"""The confusion matrix of check_prior, on small networks that are trained for it.

    python -m benchmarks.quality.confusion --run-dir runs/confusion --output confusion.json

Every network (true prediction, schedule, range of the data) under every claim of them. Networks and
finished cells are found again in the run directory; the cells are written beside the output as CSV.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.machine import machine, public_command
from benchmarks.quality.command import each_once, plain_errors
from benchmarks.quality.confusion.matrix import Cell, as_csv, cell_of, markdown, summary
from benchmarks.quality.confusion.networks import (
    DATA,
    RANGES,
    SCHEDULES,
    Setting,
    settings,
    trained,
)
from scoreregs_offline_rl.files import save_json

__all__ = ["main", "measure"]


@dataclass(frozen=True)
class Arguments:
    """The confusion matrix of check_prior."""

    run_dir: Path
    """Where networks and cells are kept and found again."""
    output: Path
    """The JSON that is written; the CSV lies beside it."""
    data: tuple[str, ...] = tuple(DATA)
    """Data sets."""
    schedules: tuple[str, ...] = tuple(SCHEDULES)
    """True and claimed."""
    ranges: tuple[str, ...] = ("[-1, 1]", "[0, 1]", "latent")
    """That networks are trained on."""
    claimed_ranges: tuple[str, ...] = tuple(RANGES)
    """That data is given in."""
    steps: int = 3000
    """Of training."""
    rows: int = 1024
    """Of data that the networks have not seen."""
    seed: int = 1
    """Of data and networks."""


def measure(arguments: Arguments) -> list[Cell]:
    """Returns the cells, measured or found."""
    found = {_key(cell): cell for cell in _load(arguments.run_dir / "cells.jsonl")}
    cells: list[Cell] = []
    claims = settings(arguments.schedules, arguments.claimed_ranges)
    for data in arguments.data:
        fresh = DATA[data](arguments.rows, arguments.seed + 1)
        for true in settings(arguments.schedules, arguments.ranges):
            folder = arguments.run_dir / "networks"
            network = trained(true, data, arguments.steps, arguments.seed, folder)
            for claim in claims:
                cell = found.get((data, true, claim))
                if cell is None:
                    cell = cell_of(data, network, true, claim, fresh)
                    _append(arguments.run_dir / "cells.jsonl", cell)
                cells.append(cell)
            named = sum(cell.named for cell in cells[-len(claims) :])
            print(f"{data}, {true}: {named} of {len(claims)} named right", flush=True)
    return cells


def _key(cell: Cell) -> tuple[str, Setting, Setting]:
    return cell.data, cell.true, cell.claim


def _load(path: Path) -> list[Cell]:
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return [
        Cell(**row | {"true": Setting(**row["true"]), "claim": Setting(**row["claim"])})
        for row in rows
    ]


def _append(path: Path, cell: Cell) -> None:
    with path.open("a") as file:
        file.write(json.dumps(asdict(cell)) + "\n")


def main() -> None:
    """Trains and measures what is missing, writes the results and prints the table."""
    arguments = tyro.cli(Arguments)
    with plain_errors():
        for name in ("data", "schedules", "ranges", "claimed_ranges"):
            each_once(f"--{name.replace('_', '-')}", getattr(arguments, name))
        arguments.run_dir.mkdir(parents=True, exist_ok=True)
        cells = measure(arguments)
    rows = summary(cells)
    command = public_command("benchmarks.quality.confusion", sys.argv[1:])
    content = {"command": command, "threads": torch.get_num_threads(), **machine()}
    missed = [asdict(cell) for cell in cells if not cell.named]
    save_json(arguments.output, content | {"rows": rows, "missed": missed})
    arguments.output.with_suffix(".csv").write_text(as_csv(cells))
    print(markdown(rows))


if __name__ == "__main__":
    main()
