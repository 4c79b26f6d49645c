"""The scores as a table: mean over seeds, with their range."""

from collections import defaultdict
from typing import Any

import numpy as np

__all__ = ["markdown"]

METHODS = (
    "data",
    "cloning",
    "advantage-weighted actor",
    "the paper's code",
    "score-regularised policy",
)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns a Markdown table, a line for each file; what was not run is a dash.

    Example:
        >>> print(markdown([{"file": "f", "method": "data", "score": 1.0}]).splitlines()[-1])
        | f | 1.0 | – | – | – | – |
    """
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        scores[row["file"], row["method"]].append(row["score"])
    files = list(dict.fromkeys(row["file"] for row in rows))
    lines = [
        f"| File | {' | '.join(method.capitalize() for method in METHODS)} |",
        "|---" * (len(METHODS) + 1) + "|",
    ]
    for file in files:
        cells = [_cell(scores[file, method]) for method in METHODS]
        lines.append(f"| {file} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(scores: list[float]) -> str:
    if not scores:
        return "–"
    middle = f"{np.mean(scores):.1f}"
    spread = max(scores) - min(scores)
    return middle if spread < 0.05 else f"{middle} ({min(scores):.1f} to {max(scores):.1f})"
