"""What `pytest benchmarks` prints of its rows: ratios, in place of pytest-benchmark's seconds."""

from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.speed.ratios import lines_of, table

_ROWS = pytest.StashKey[list[dict[str, Any]]]()
# With these its own table is asked for, or what comes with it alone.
_ASKS = "verbose", "columns", "histogram", "compare", "cprofile"


def pytest_benchmark_group_stats(
    config: pytest.Config, benchmarks: Sequence[dict[str, Any]], group_by: str
) -> list[Any] | None:
    """Keeps the rows, and leaves pytest-benchmark none to show unless that is asked for."""
    del group_by
    config.stash[_ROWS] = [{**row, "stats": row} for row in benchmarks]
    asked = any(config.getoption(f"benchmark_{option}") for option in _ASKS)
    return None if asked or config.get_verbosity() > 0 else []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints the ratios."""
    rows = config.stash.get(_ROWS, [])
    if not rows or config.getoption("benchmark_quiet"):
        return
    lines = lines_of(rows)
    shown = {line.group for line in lines}
    terminalreporter.section("ratios of medians (seconds: -v)")
    if lines:
        terminalreporter.write_line(table(lines))
    for group in dict.fromkeys(row["group"] for row in rows if row["group"] not in shown):
        terminalreporter.write_line(f"{group}: no row of ours was timed to compare others with")
