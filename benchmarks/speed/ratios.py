"""Rows of pytest-benchmark beside ours, as ratios; seconds mean little on another machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["REFERENCE", "Line", "lines_of", "table"]

REFERENCE = "ours", "policy in torch", "Eq. 15"
"""The row of a group that others are beside."""
_BESIDE = "limit", "plain torch", "by hand", "paper code", "paper code one by one"
_STEPS = {"eq_15": "Eq. 15", "through_prior": "through the prior"}


@dataclass(frozen=True)
class Line:
    """A row of a group.

    Attributes:
        group: What is timed.
        name: By whom.
        median: Milliseconds.
        quartiles: Interquartile range, milliseconds.
        ratio: Its median over that of our row of the group; above 1 we are faster.
        flops: Of its matrix products, where they were counted.
        memory: Milliseconds of the products' bytes at the memory's bandwidth, of limits.
    """

    group: str
    name: str
    median: float
    quartiles: float
    ratio: float
    flops: int | None = None
    memory: float | None = None


def lines_of(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Returns the rows group by group, ours first, else in the order given.

    Args:
        rows: as pytest-benchmark writes them to JSON; groups without a row of ours are left out.
    """
    ours = {row["group"]: row["stats"]["median"] for row in rows if _name(row) in REFERENCE}
    groups = list(ours)
    return [
        Line(
            group=row["group"],
            name=_name(row),
            median=1e3 * row["stats"]["median"],
            quartiles=1e3 * row["stats"]["iqr"],
            ratio=row["stats"]["median"] / ours[row["group"]],
            flops=row.get("extra_info", {}).get("flops"),
            memory=_milliseconds(row.get("extra_info", {}).get("bytes_seconds")),
        )
        for row in sorted(
            (row for row in rows if row["group"] in ours),
            key=lambda row: (groups.index(row["group"]), _name(row) not in REFERENCE),
        )
    ]


def table(lines: Sequence[Line]) -> str:
    """Returns the ratios of each group's medians to those of its rows that others are beside.

    Example:
        >>> rows = [("ours", 2.0, 1.0), ("limit", 1.5, 0.75), ("paper code", 3.0, 1.5)]
        >>> print(table([Line("critic", name, ms, 0.1, ratio) for name, ms, ratio in rows]))
        critic: time over that of  ours  limit  paper code
          ours                     1.00   1.33        0.67
          limit                    0.75   1.00        0.50
          paper code               1.50   2.00        1.00
    """
    blocks = []
    for group in dict.fromkeys(line.group for line in lines):
        its = [line for line in lines if line.group == group]
        beside = [line for line in its if line.name in (*REFERENCE, *_BESIDE)]
        names = [f"{group}: time over that of", *(f"  {line.name}" for line in its)]
        columns = [[line.name, *(_short(row.ratio / line.ratio) for row in its)] for line in beside]
        widths = [max(map(len, column)) for column in columns]
        blocks += [
            "  ".join(
                [name.ljust(max(map(len, names)))]
                + [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
            )
            for name, *cells in zip(names, *columns, strict=True)
        ]
    return "\n".join(blocks)


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _name(row: Mapping[str, Any]) -> str:
    """Who a row is of; parameters that make the group are left out."""
    name, _, parameters = row["name"].removeprefix("test_").removesuffix("]").partition("[")
    if name == "diffusion_policy":
        sampler, steps, candidates = parameters.rsplit("-", 2)
        return f"{sampler}, {steps} steps, best of {candidates}"
    return _STEPS.get(parameters) or name.replace("_", " ")
