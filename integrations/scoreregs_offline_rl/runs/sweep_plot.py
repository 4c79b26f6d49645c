"""A sweep as a picture: a heat map, the score by temperature, and learning curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.figures import drawing
from scoreregs_offline_rl.runs.sweep_table import SweepTable
from scoreregs_offline_rl.stages.registry import StageRows, stages_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_sweep"]


@named_calls
def draw_sweep(table: SweepTable, path: Path) -> None:
    """Draws a finished sweep as a PNG.

    Left the number of each member by temperature and seed; in the middle by temperature, the mean
    over seeds with their range; right what the policies' actions are worth to the critic while they
    train, a band over seeds for each temperature. Of policies without a temperature only the curves
    and the number of each seed are drawn.

    Args:
        table: of the sweep.
        path: the file; its directory is created.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if not table.by_beta:
        with drawing(path, 10, 4.4) as figure:
            by_seed, curves = figure.subplots(1, 2)
            _draw_by_seed(by_seed, table)
            _draw_curves(figure, curves, table)
        return
    with drawing(path, 15, 4.4) as figure:
        heat, by_beta, curves = figure.subplots(1, 3)
        _draw_heat_map(figure, heat, table)
        _draw_by_beta(by_beta, table)
        _draw_curves(figure, curves, table)


def _draw_heat_map(figure: Figure, axis: Axes, table: SweepTable) -> None:
    grid = table.grid
    image = axis.imshow(table.values, cmap="cividis", aspect="auto")
    axis.set_xticks(range(len(grid.betas)), grid.beta_labels)
    axis.set_yticks(range(len(grid.seeds)), [str(seed) for seed in grid.seeds])
    axis.set(xlabel="temperature beta", ylabel="seed", title=table.unit)
    middle = (table.values.min() + table.values.max()) / 2
    for (row, column), value in np.ndenumerate(table.values):
        colour = "black" if value > middle else "white"
        axis.text(column, row, table.text(value), ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axis)


def _draw_by_seed(axis: Axes, table: SweepTable) -> None:
    seeds = [str(seed) for seed in table.grid.seeds]
    axis.plot(seeds, table.values[:, 0], color="#0072B2", marker="o", linestyle="")
    if table.data is not None:
        axis.axhline(table.data, color="0.45", linestyle=(0, (2, 1)), label="data")
        axis.legend(frameon=False)
    axis.set(xlabel="seed", ylabel=table.unit)
    axis.grid(color="0.9")


def _draw_by_beta(axis: Axes, table: SweepTable) -> None:
    betas, values = table.grid.betas, table.values
    low, high = values.min(0), values.max(0)
    axis.fill_between(betas, low, high, color="#0072B2", alpha=0.2, label="range over seeds")
    axis.plot(betas, values.mean(0), color="#0072B2", marker="o", label="mean over seeds")
    if table.data is not None:
        axis.axhline(table.data, color="0.45", linestyle=(0, (2, 1)), label="data")
    axis.set_xscale("log")
    axis.set_xticks(betas, table.grid.beta_labels)
    axis.minorticks_off()
    axis.set(xlabel="temperature beta", ylabel=table.unit)
    axis.grid(color="0.9")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)


def _draw_curves(figure: Figure, axis: Axes, table: SweepTable) -> None:
    from matplotlib import colormaps

    steps, curves = table.curves["step"], table.curves[table.metric]
    places = np.linspace(0, 0.9, len(table.columns))
    marker = "o" if len(steps) == 1 else None
    for column, beta in enumerate(table.columns):
        colour, of_seeds = colormaps["viridis"](places[column]), curves[:, :, column]
        axis.fill_between(steps, of_seeds.min(1), of_seeds.max(1), color=colour, alpha=0.2)
        axis.plot(steps, of_seeds.mean(1), color=colour, marker=marker, label=beta)
    known = stages_of(StageRows)
    label = known[table.shown].curve.label if table.shown in known else table.metric
    axis.set(xlabel=f"{table.shown} step", ylabel=label)
    axis.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
    axis.grid(color="0.9")
    axis.legend(title="beta", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
