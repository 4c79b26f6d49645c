"""The cells of the confusion matrix: what is true, what is claimed, what check_prior says."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from benchmarks.quality.confusion.networks import (
    RANGES,
    SCHEDULES,
    Setting,
    TimedNetwork,
    claimed,
)
from scoreregs import PriorReport, check_prior
from scoreregs.checking import DataMap
from scoreregs.predictions import PREDICTIONS

__all__ = ["Cell", "as_csv", "cell_of", "markdown", "summary"]


@dataclass(frozen=True)
class Cell:
    """A network, a claim, and the verdict.

    Attributes:
        data: the data set's name.
        true: what the network was trained for.
        claim: what it is plugged in as, and the range that its data has.
        ok: check_prior's verdict.
        named: whether the verdict is right: ok where the claim is true, else the true reading.
        ratio: the error over that of the named reading.
        cause: what check_prior says.
        seconds: how long it took.
    """

    data: str
    true: Setting
    claim: Setting
    ok: bool
    named: bool
    ratio: float
    cause: str | None
    seconds: float


def cell_of(data: str, network: TimedNetwork, true: Setting, claim: Setting, x: Tensor) -> Cell:
    """Returns the cell of a network under a claim, on data in [-1, 1] put in the claim's range."""
    shown = RANGES[claim.range](x)
    report = check_prior(claimed(network, claim), shown)
    named = report.ok if claim == true else _names(report, true, claim, shown)
    return Cell(
        data, true, claim, report.ok, named, min(report.ratio, 1e9), report.cause, report.seconds
    )


def missing_map(true: str, claim: str) -> DataMap:
    """Returns the map that takes data in the claimed range to the true one."""
    before, after = RANGES[claim], RANGES[true]
    scale = after.scale / before.scale
    return DataMap(scale, after.shift - scale * before.shift)


def _names(report: PriorReport, true: Setting, claim: Setting, shown: Tensor) -> bool:
    """Whether a report is not ok and its reading is the true one."""
    reading = report.reading
    if report.ok or reading is None:
        return False
    expected = type(SCHEDULES[true.schedule]())
    deviation = shown.double().std().item()
    return (
        reading.prediction is PREDICTIONS[true.prediction]
        and reading.sign == 1
        and not reading.view.finding
        and type(reading.schedule) is expected
        and repr(reading.schedule) == repr(SCHEDULES[true.schedule]())
        and reading.data.is_near(missing_map(true.range, claim.range), deviation)
    )


def summary(cells: Sequence[Cell]) -> dict[str, Any]:
    """Returns how many cells are named right and how many wrong claims are called ok, by data."""
    rows: dict[str, Any] = {}
    for data in dict.fromkeys(cell.data for cell in cells):
        mine = [cell for cell in cells if cell.data == data]
        wrong = [cell for cell in mine if cell.claim != cell.true]
        right = [cell for cell in mine if cell.claim == cell.true]
        rows[data] = {
            "cells": len(mine),
            "named right": sum(cell.named for cell in mine),
            "share": sum(cell.named for cell in mine) / len(mine),
            "right claims": len(right),
            "right claims ok": sum(cell.ok for cell in right),
            "wrong claims": len(wrong),
            "wrong claims ok": sum(cell.ok for cell in wrong),
            "smallest ratio of a wrong claim": min((c.ratio for c in wrong), default=None),
            "median seconds": sorted(cell.seconds for cell in mine)[len(mine) // 2],
        }
    return rows


def markdown(rows: dict[str, Any]) -> str:
    """Returns a Markdown table of `summary`."""
    lines = [
        "| Data | Cells | Named right | Right claims ok | Wrong claims ok |",
        "|---|---|---|---|---|",
    ]
    for data, row in rows.items():
        share = f"{row['named right']} ({100 * row['share']:.1f} %)"
        right = f"{row['right claims ok']} of {row['right claims']}"
        wrong = f"{row['wrong claims ok']} of {row['wrong claims']}"
        lines.append(f"| {data} | {row['cells']} | {share} | {right} | {wrong} |")
    return "\n".join(lines)


def as_csv(cells: Sequence[Cell]) -> str:
    """Returns the cells as CSV, without what they say."""
    stream = io.StringIO()
    names = [
        f"{of}_{what}" for of in ("true", "claimed") for what in ("prediction", "schedule", "range")
    ]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["data", *names, "ok", "named", "ratio"])
    for cell in cells:
        both = (*asdict(cell.true).values(), *asdict(cell.claim).values())
        writer.writerow([cell.data, *both, int(cell.ok), int(cell.named), f"{cell.ratio:.4g}"])
    return stream.getvalue()
