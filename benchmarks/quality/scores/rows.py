"""A row of the results: one method on one file with one seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scoreregs_offline_rl import EvaluationResult
from scoreregs_offline_rl.files import load_json, save_json

__all__ = ["Row", "evaluated_row", "kept_rows"]

Row = dict[str, Any]


def evaluated_row(
    method: str, data: Path, seed: int, found: EvaluationResult, seconds: float
) -> Row:
    """Returns the row of a policy that was evaluated.

    Args:
        method: One of the table's columns.
        data: The file.
        seed: See `Arguments.seeds`.
        found: Its episodes.
        seconds: Wall-clock time of training.
    """
    return {
        "file": data.stem,
        "seed": seed,
        "method": method,
        "score": found.normalized_score,
        "returns": list(found.returns),
        "episodes": len(found.returns),
        "environment": found.environment,
        "seconds": seconds,
    }


def kept_rows(path: Path, make: Callable[[], list[Row]]) -> list[Row]:
    """Returns the rows in a file, made and written where there is none."""
    if not path.exists():
        save_json(path, {"rows": make()})
    return load_json(path)["rows"]
