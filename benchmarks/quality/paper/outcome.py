"""What a figure is drawn from: numbers in a JSON, rows in CSV files beside it."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scoreregs_offline_rl.files import load_json, replacing, save_json

__all__ = ["Outcome", "Table", "columns", "load", "save"]

Table = Mapping[str, Sequence[float | str]]


@dataclass(frozen=True)
class Outcome:
    """The result of a figure.

    Attributes:
        numbers: what a JSON holds.
        tables: columns by name, for each CSV.
    """

    numbers: dict[str, Any]
    tables: Mapping[str, Table]


def columns(names: Iterable[str], values: Tensor) -> dict[str, list[float]]:
    """Returns the columns of a tensor, (rows, len(names)), under their names."""
    return dict(zip(names, values.T.tolist(), strict=True))


def save(outcome: Outcome, folder: Path, name: str, about: Mapping[str, Any]) -> list[Path]:
    """Writes name.json and name-table.csv for each table, and returns their paths.

    Args:
        outcome: what is written; of a table, integers whole and floats with five digits.
        folder: where.
        name: of the figure.
        about: how it was made: command, seeds, versions, machine.
    """
    paths = [folder / f"{name}.json"]
    save_json(paths[0], {**about, "tables": list(outcome.tables), "numbers": outcome.numbers})
    for table, found in outcome.tables.items():
        paths.append(_path(folder, name, table))
        with replacing(paths[-1]) as partial, partial.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(found)
            rows = zip(*found.values(), strict=True)
            writer.writerows([_short(value) for value in row] for row in rows)
    return paths


def load(folder: Path, name: str) -> Outcome:
    """Returns what was saved.

    Raises:
        RunError: where the JSON is missing or is none.
    """
    content = load_json(folder / f"{name}.json")
    tables = {}
    for table in content["tables"]:
        with _path(folder, name, table).open(newline="") as file:
            header, *rows = csv.reader(file)
        found = zip(*rows, strict=True)
        tables[table] = {
            column: [_parsed(value) for value in values]
            for column, values in zip(header, found, strict=True)
        }
    return Outcome(content["numbers"], tables)


def _path(folder: Path, name: str, table: str) -> Path:
    return folder / f"{name}-{table}.csv"


def _short(value: float | str) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _parsed(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value
