"""The paper's table with a column of ours."""

from collections.abc import Sequence

import numpy as np

from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.table_1.published import AVERAGES, METHODS, PUBLISHED, Published, family

__all__ = ["markdown", "of_task"]

_HEAD = ("Task", *METHODS, "SRPO, paper", "SRPO, ours", "Deviation")


def markdown(outcome: Outcome) -> str:
    """Returns the table, then what its last columns are and why they lack what they lack.

    The deviation is our mean less the paper's; a family's average is there if all of its tasks are.
    """
    lines = [_line(_HEAD), _line(["---", *["---:"] * (len(_HEAD) - 1)])]
    for name, average in AVERAGES.items():
        tasks = [task for task in PUBLISHED if family(task) == name]
        ours = [of_task(outcome, "scores", task)["score"] for task in tasks]
        lines += [_row(task, PUBLISHED[task], its) for task, its in zip(tasks, ours, strict=True)]
        overall = [float(np.mean([np.mean(scores) for scores in ours]))] if all(ours) else []
        lines.append(_row(f"Average ({name})", average, overall))
    return "\n".join([*lines, "", *_notes(outcome)])


def of_task(outcome: Outcome, table: str, task: str) -> dict[str, list[float]]:
    """Returns the columns of a table of the outcome, of one task."""
    columns = outcome.tables[table]
    rows = [row for row, its in enumerate(columns["task"]) if its == task]
    return {
        name: [float(column[row]) for row in rows]
        for name, column in columns.items()
        if name != "task"
    }


def _notes(outcome: Outcome) -> list[str]:
    numbers = outcome.numbers
    seeds = len(numbers["budget"]["seeds"])
    scale, episodes = numbers["budget"]["scale"], numbers["budget"]["episodes"]
    notes = [
        f"Ours: mean ± standard deviation (n - 1) over {seeds} seed(s), {episodes} episodes each."
    ]
    if scale < 1:
        notes.append(
            f"Trained for {100 * scale:g} % of the paper's steps: our column does not compare with "
            "the paper's, and its deviation says nothing about either."
        )
    notes += [f"Not run: {task}: {reason}" for task, reason in numbers["missing"].items()]
    return notes


def _row(label: str, published: Published, scores: Sequence[float]) -> str:
    others = ["–" if other is None else f"{other:.1f}" for other in published.others]
    theirs = _cell(published.srpo, published.spread)
    if not scores:
        return _line([label, *others, theirs, "–", "–"])
    mean = float(np.mean(scores))
    ours = _cell(mean, float(np.std(scores, ddof=1)) if len(scores) > 1 else None)
    return _line([label, *others, theirs, ours, f"{mean - published.srpo:+.1f}"])


def _cell(mean: float, spread: float | None) -> str:
    return f"{mean:.1f}" if spread is None else f"{mean:.1f} ± {spread:.1f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
