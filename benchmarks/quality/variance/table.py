"""The measured traces as ratios to the paper's estimator, and what they say of each setting."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.quality.variance.estimators import PAPER
from benchmarks.quality.variance.measure import Trace

__all__ = ["QUANTITIES", "Cell", "Setting", "as_csv", "as_markdown", "cells_of", "summary"]

QUANTITIES = ("per sample", "parameters")
Setting = tuple[str, str]
GOAL, HALF_GOAL = 0.6, 0.35


@dataclass(frozen=True)
class Cell:
    """One setting on one case; the ratio is that of traces, to the paper's estimator."""

    quantity: str
    prior: str
    place: str
    draws: str
    baseline: str
    trace: float
    trace_error: float
    ratio: float
    ratio_error: float

    @property
    def setting(self) -> Setting:
        """Draws and baseline."""
        return self.draws, self.baseline

    @property
    def case(self) -> tuple[str, str, str]:
        """Quantity, prior and place."""
        return self.quantity, self.prior, self.place


def cells_of(quantity: str, prior: str, place: str, found: dict[Setting, Trace]) -> list[Cell]:
    """Returns the cells of one case."""
    paper = found[PAPER]
    cells = []
    for setting, trace in found.items():
        ratio = Trace(1.0, 0.0) if setting == PAPER else trace.over(paper)
        cells.append(
            Cell(
                quantity,
                prior,
                place,
                *setting,
                trace.value,
                trace.error,
                ratio.value,
                ratio.error,
            )
        )
    return cells


def summary(cells: Iterable[Cell]) -> dict[Setting, dict[str, float | bool]]:
    """Returns for each setting its largest and median ratio and whether it is ever worse.

    `never_worse` allows two standard errors. Antithetic noise has per-sample cases only.
    """
    grouped: dict[Setting, list[Cell]] = {}
    for cell in cells:
        grouped.setdefault(cell.setting, []).append(cell)
    return {
        setting: {
            "cases": len(found),
            "largest": max(c.ratio for c in found),
            "median": median(c.ratio for c in found),
            "share_at_most_0.6": sum(c.ratio <= GOAL for c in found) / len(found),
            "share_at_most_0.35": sum(c.ratio <= HALF_GOAL for c in found) / len(found),
            "never_worse": all(c.ratio <= 1 + 2 * c.ratio_error for c in found),
        }
        for setting, found in grouped.items()
    }


def as_csv(cells: Iterable[Cell]) -> str:
    """Returns a line for each cell."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(Cell.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    for cell in cells:
        row = asdict(cell)
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return file.getvalue()


def as_markdown(
    cells: list[Cell], setting: Setting, floors: list[dict[str, str | float]]
) -> list[str]:
    """Returns the lines of a table: a setting's ratio by case, and the floors."""
    lines = ["| Estimate | Prior, place | Ratio | Spread times, c(t) | Spread times, C(t, x) |"]
    lines.append("|---|---|---|---|---|")
    by_case = {(f["quantity"], f["prior"], f["place"]): f for f in floors}
    for cell in cells:
        if cell.setting == setting:
            floor = by_case[cell.case]
            linear = f"{floor['linear']:.3f}" if "linear" in floor else ""
            lines.append(
                f"| {cell.quantity} | {cell.prior}, {cell.place} | {cell.ratio:.3f} ± "
                f"{cell.ratio_error:.3f} | {floor['scalar']:.3f} | {linear} |"
            )
    return lines
