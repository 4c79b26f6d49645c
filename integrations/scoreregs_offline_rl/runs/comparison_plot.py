"""A comparison of runs as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scoreregs_offline_rl.figures import drawing
from scoreregs_offline_rl.runs.comparison import DATA, FinishedRun, RunComparison, Summary
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.stages.stage import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_comparison"]

# Okabe and Ito's colours, which everyone tells apart; markers and lines differ, too.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_LINES = ("-", "--", ":", "-.")


def draw_comparison(comparison: RunComparison, path: Path) -> None:
    """Draw scores with their intervals, and learning curves where runs have kept metrics, as a PNG.

    Args:
        comparison: Of `compare_runs`.
        path: The file; its directory is created.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    rows = [*comparison.rows, *comparison.overall]
    panels = [chosen for known in (True, False) if (chosen := _tasks(rows, known))]
    stages = _stages(comparison)
    heights = [1.0 + 0.55 * len(tasks) for tasks in panels] + ([3.2] if stages else [])
    with drawing(path, 12, 0.6 + sum(heights)) as figure:
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, tasks in zip(parts, panels, strict=False):
            _draw_scores(part.subplots(), tasks, comparison)
        if stages:
            axes = parts[-1].subplots(1, len(stages), squeeze=False)[0]
            for axis, stage in zip(axes, stages, strict=True):
                _draw_curves(axis, stage, comparison)
            if len(comparison.runs) > 1:
                handles, labels = axes[0].get_legend_handles_labels()
                parts[-1].legend(
                    handles, labels, loc="outside lower center", ncols=3, frameon=False
                )


def _tasks(rows: list[Summary], normalized: bool) -> dict[str, list[Summary]]:
    """The rows in one unit, by task."""
    found: dict[str, list[Summary]] = {}
    for row in rows:
        if row.normalized is normalized:
            found.setdefault(row.task, []).append(row)
    return found


def _draw_scores(axis: Axes, tasks: dict[str, list[Summary]], comparison: RunComparison) -> None:
    labelled: set[str] = set()
    methods = list(dict.fromkeys(r.method for rows in tasks.values() for r in rows))
    styles = _styles([method for method in methods if method != DATA])

    def label(row: Summary) -> str | None:
        if row.method in labelled:
            return None
        labelled.add(row.method)
        return row.label

    for place, (task, rows) in enumerate(tasks.items()):
        for row in rows:
            if row.method == DATA:
                ends = [place - 0.35, place + 0.35]
                style = {"color": "0.45", "linestyle": (0, (2, 1)), "linewidth": 2}
                axis.plot([row.iqm] * 2, ends, label=label(row), **style)
                continue
            colour, marker, offset = styles[row.method]
            if task in comparison.runs and len(row.scores) > 1:
                places = [place + offset] * len(row.scores)
                axis.scatter(row.scores, places, s=14, c=colour, marker=marker, alpha=0.35)
            if row.interval is not None:
                ends = [row.interval.low, row.interval.high]
                line = "-" if len(row.scores) > 1 else (0, (1, 1))
                axis.plot(ends, [place + offset] * 2, color=colour, linewidth=2, linestyle=line)
            axis.scatter(row.iqm, place + offset, s=60, c=colour, marker=marker, label=label(row))
    axis.set_yticks(range(len(tasks)), [_wrap(task, comparison) for task in tasks])
    axis.set_ylim(len(tasks) - 0.4, -0.6)
    normalized = next(iter(tasks.values()))[0].normalized
    unit = "normalised score" if normalized else "return"
    axis.set_xlabel(
        f"{unit}: interquartile mean over seeds, with 95 % interval; pale: each seed; "
        "dotted: interval over the episodes of a single seed"
    )
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)


def _styles(methods: list[str]) -> dict[str, tuple[str, str, float]]:
    """Returns colour, marker and place of each method, above one another on a task's line."""
    known = TrainConfig.stages()
    step = 0.36 / max(1, len(methods) - 1)
    return {
        method: (
            known[method].colour if method in known else _COLOURS[index % len(_COLOURS)],
            _MARKERS[index % len(_MARKERS)],
            -0.18 + index * step if len(methods) > 1 else 0.0,
        )
        for index, method in enumerate(methods)
    }


def _wrap(task: str, comparison: RunComparison) -> str:
    """The task on a line, what tells its configuration apart and its seeds below."""
    if task not in comparison.runs:
        return task
    name, runs = task.replace(" (", "\n("), len(comparison.runs[task])
    return f"{name}\n{runs} seed{'s' if runs > 1 else ''}"


def _stages(comparison: RunComparison) -> list[str]:
    """Returns the stages that a run has kept a curve of, in the order of training."""
    runs = [run for group in comparison.runs.values() for run in group]
    kept = dict.fromkeys(stage for run in runs for stage in run.metrics)
    order = dict.fromkeys([*TrainConfig.stages(), *kept])
    return [stage for stage in order if any(_curve(run, stage) for run in runs)]


def _shown(stage: str) -> Curve:
    known = TrainConfig.stages()
    return known[stage].curve if stage in known else Curve()


def _curve(run: FinishedRun, stage: str) -> list[tuple[float, float]]:
    name = _shown(stage).metric
    return [(line["step"], line[name]) for line in run.metrics.get(stage, []) if name in line]


def _draw_curves(axis: Axes, stage: str, comparison: RunComparison) -> None:
    for index, (task, runs) in enumerate(comparison.runs.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        line = _LINES[index // len(_COLOURS) % len(_LINES)]
        for number, run in enumerate(runs):
            points = _curve(run, stage)
            steps, values = zip(*points, strict=True) if points else ((), ())
            axis.plot(
                steps,
                values,
                color=colour,
                linestyle=line,
                linewidth=1.2,
                # A curve of one point is a marker.
                marker="." if len(points) == 1 else None,
                label=task if number == 0 else None,
            )
    axis.set(xlabel="step", title=f"{stage}: {_shown(stage).label}")
    axis.title.set_fontsize("medium")
    axis.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
    axis.grid(color="0.9")
