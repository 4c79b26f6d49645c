"""A run as a picture: what each stage learnt, and how its policies compare with the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scoreregs_offline_rl.figures import drawing
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.stages.actor import ActorStage
from scoreregs_offline_rl.stages.registry import actors_of
from scoreregs_offline_rl.training.stage_files import is_finished

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_run"]

_RATIO = "prior_error_ratio"


def draw_run(directory: RunDirectory, path: Path) -> None:
    """Draws the curve of each stage, the policies' prior error by step, and their scores.

    Args:
        directory: of a run with a result.
        path: the PNG.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    stages = {name: stage for name, stage in directory.stages.items() if _kept(directory, name)}
    lines = {name: _lines(directory.stage(name) / "metrics.jsonl") for name in stages}
    result = load_json(directory.result_file)
    rows = (len(stages) + 4) // 3
    with drawing(path, 12, 2.9 * rows) as figure:
        axes = list(figure.subplots(rows, 3, squeeze=False).flat)
        for axis, (name, stage) in zip(axes, stages.items(), strict=False):
            colour = stage.colour if issubclass(stage, ActorStage) else "0.3"
            _draw_curve(axis, lines[name], stage.curve.metric, colour)
            axis.set_title(f"{stage.label}: {stage.curve.label}", fontsize="medium")
        rest = axes[len(stages) :]
        for name, stage in actors_of(directory.stages).items():
            _draw_curve(rest[0], lines.get(name, []), _RATIO, stage.colour, stage.label)
        rest[0].axhline(1, color="0.6", linewidth=1, linestyle="--")
        rest[0].set_title("prior's error at the policy's actions / the data's", fontsize="medium")
        if rest[0].get_legend_handles_labels()[0]:
            rest[0].legend(frameon=False, fontsize="small")
        _draw_scores(rest[1], result, directory)
        for axis in rest[2:]:
            axis.set_axis_off()
        if result.get("verdict") is not None:
            figure.suptitle(result["verdict"]["message"], fontsize="medium")


def _kept(directory: RunDirectory, name: str) -> bool:
    folder = directory.stage(name)
    return is_finished(folder) and (folder / "metrics.jsonl").exists()


def _lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _draw_curve(
    axis: Axes, lines: list[dict[str, float]], metric: str, colour: str, label: str | None = None
) -> None:
    """Draws a metric by step, a line for each member of several."""
    names = {name for line in lines for name in line if name.split("/")[0] == metric}
    for index, name in enumerate(sorted(names)):
        points = [(line["step"], line[name]) for line in lines if name in line]
        steps, values = zip(*points, strict=True)
        marker = "." if len(points) == 1 else None
        told = label if index == 0 else None
        axis.plot(steps, values, color=colour, linewidth=1.2, marker=marker, label=told)
    axis.set_xlabel("step")
    axis.grid(color="0.9")


def _draw_scores(axis: Axes, result: dict[str, Any], directory: RunDirectory) -> None:
    """Draws the policies' returns with their intervals, or says that nothing was acted out."""
    evaluated = {n: s for n, s in actors_of(directory.stages).items() if result.get(n)}
    if not evaluated:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no environment, no returns", ha="center", va="center")
        return
    for place, (name, stage) in enumerate(evaluated.items()):
        returns, interval = result[name]["returns"], result[name]["interval"]
        mean = sum(returns) / len(returns)
        axis.scatter([place] * len(returns), returns, s=8, c=stage.colour, alpha=0.3)
        if interval is not None:
            axis.plot([place] * 2, interval, color=stage.colour, linewidth=2)
        axis.scatter(place, mean, s=50, c=stage.colour)
    axis.axhline(result["data_return"], color="0.45", linestyle=(0, (2, 1)), label="data")
    axis.set_xticks(range(len(evaluated)), [stage.name for stage in evaluated.values()])
    axis.set_xlim(-0.6, len(evaluated) - 0.4)
    axis.set_title("return: mean, 95 % interval, episodes", fontsize="medium")
    axis.grid(axis="y", color="0.9")
    axis.legend(frameon=False, fontsize="small")
