"""The scores as a table: mean over seeds, with their range."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from scoreregs_offline_rl import AWRStage, CloningStage, PolicyStage, TD3BCStage

__all__ = ["markdown", "mean_and_range"]

METHODS = (
    "data",
    CloningStage.label,
    AWRStage.label,
    TD3BCStage.label,
    "selection among behavior samples",
    "the paper's code",
    PolicyStage.label,
)
# In results of older versions.
_FORMER = {
    "advantage-weighted actor": AWRStage.label,
    "score-regularised policy": PolicyStage.label,
}


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns a Markdown table, a line for each file; what was not run is a dash.

    Example:
        >>> print(markdown([{"file": "f", "method": "data", "score": 1.0}]).splitlines()[-1])
        | f | 1.0 | – | – | – | – | – | – |
    """
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        method: str = row["method"]
        scores[row["file"], _FORMER.get(method, method)].append(row["score"])
    files = list(dict.fromkeys(row["file"] for row in rows))
    lines = [
        f"| File | {' | '.join(method[0].upper() + method[1:] for method in METHODS)} |",
        "|---" * (len(METHODS) + 1) + "|",
    ]
    for file in files:
        cells = [mean_and_range(scores[file, method]) for method in METHODS]
        lines.append(f"| {file} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_and_range(values: Sequence[float]) -> str:
    """Returns the mean, and smallest and largest where they differ; a dash without values.

    Example:
        >>> mean_and_range([1.0, 2.0, 6.0]), mean_and_range([2.0, 2.0]), mean_and_range([])
        ('3.0 (1.0 to 6.0)', '2.0', '–')
    """
    if not values:
        return "–"
    middle = f"{np.mean(values):.1f}"
    spread = max(values) - min(values)
    return middle if spread < 0.05 else f"{middle} ({min(values):.1f} to {max(values):.1f})"
