"""The confusion matrix of check_prior, on small networks that are trained for it.

    python -m benchmarks.quality.confusion --run-dir runs/confusion --output confusion.json

Networks (true prediction, schedule, range of the data) under claims of them, both drawn by chance
from all: a quarter of an hour on one thread; `--networks None --cells None` is every one. Networks
and finished cells are found again in the run directory; cells are written beside the output as CSV.
"""

import json
import random
import sys
from dataclasses import asdict, dataclass
from functools import cache, partial
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
    TimedNetwork,
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
    steps: int = 2000
    """Of training."""
    rows: int = 1024
    """Of data that the networks have not seen."""
    seed: int = 1
    """Of data, networks and the order of the cells."""
    networks: int | None = 80
    """How many networks, drawn by chance among all: None, for all, takes twice as long to train."""
    cells: int | None = 1200
    """How many cells are measured: the right claim of each network, then wrong ones by chance."""


def measure(arguments: Arguments) -> list[Cell]:
    """Returns the cells, measured or found."""
    path = arguments.run_dir / "cells.jsonl"
    found = {(cell.data, cell.true, cell.claim): cell for cell in _load(path)}
    network = cache(partial(_network, arguments))
    fresh = cache(lambda data: DATA[data](arguments.rows, arguments.seed + 1))
    cells: list[Cell] = []
    for data, true, claim in plan(arguments)[: arguments.cells]:
        cell = found.get((data, true, claim))
        if cell is None:
            cell = cell_of(data, network(data, true), true, claim, fresh(data))
            _append(path, cell)
        cells.append(cell)
        if len(cells) % 50 == 0:
            named = sum(cell.named for cell in cells)
            print(f"{named} of {len(cells)} cells named right", flush=True)
    return cells


def plan(arguments: Arguments) -> list[tuple[str, Setting, Setting]]:
    """Returns every cell of the networks: right claims, then wrong ones in an order by chance."""
    every = [
        (data, true, claim)
        for data in arguments.data
        for true in settings(arguments.schedules, arguments.ranges)
        for claim in settings(arguments.schedules, arguments.claimed_ranges)
    ]
    random.Random(arguments.seed).shuffle(every)
    every.sort(key=lambda cell: cell[1] != cell[2])
    drawn = [cell[:2] for cell in every if cell[1] == cell[2]][: arguments.networks]
    return [cell for cell in every if cell[:2] in drawn]


def _network(arguments: Arguments, data: str, true: Setting) -> TimedNetwork:
    folder = arguments.run_dir / "networks"
    return trained(true, data, arguments.steps, arguments.seed, folder)


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
    content |= {"cells": len(cells), "of": len(plan(arguments))}
    save_json(arguments.output, content | {"rows": rows, "missed": missed})
    arguments.output.with_suffix(".csv").write_text(as_csv(cells))
    print(markdown(rows))


if __name__ == "__main__":
    main()
