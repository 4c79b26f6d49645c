"""Figure 3, of one density, and Figure 7, of all."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from benchmarks.quality.paper import style
from benchmarks.quality.paper.figures_3_and_7.panels import (
    draw_data,
    draw_density,
    draw_log_density,
    draw_paths,
    draw_shift,
    draw_values,
)
from benchmarks.quality.paper.outcome import Outcome

__all__ = ["draw"]

SHOWN = "2 spirals"


def draw(outcome: Outcome) -> dict[str, Figure]:
    """Returns Figure 3, of one density, and Figure 7, of all."""
    names = [model["target"] for model in outcome.numbers["models"]]
    return {"figure-3": _figure_3(outcome, SHOWN), "figure-7": _figure_7(outcome, names)}


def _figure_3(outcome: Outcome, name: str) -> Figure:
    figure = style.figure(13, 3.6, layout="compressed")
    axes = figure.subplots(1, 5)
    draw_data(axes[0], outcome, name)
    density = draw_density(axes[1], outcome, name)
    draw_values(axes[2], outcome)
    paths = draw_paths(axes[3], outcome, name)
    draw_shift(axes[4], outcome, name)
    titles = (
        f"(a) data: {name}",
        "(b) model density",
        "(c) quadratic Qs, stacked",
        "(d) regularisation",
        "(e) policy shift",
    )
    for axis, title in zip(axes, titles, strict=True):
        style.plane(axis, title)
        axis.label_outer()
    _bars(figure, axes[1], axes[3:], density, paths, "bottom")
    return figure


def _figure_7(outcome: Outcome, names: Sequence[str]) -> Figure:
    figure = style.figure(13, 10.8, layout="compressed")
    grid = figure.subplots(5, len(names), squeeze=False, height_ratios=(1, 1, 1, 1, 1.05))
    images: list[Any] = []
    for column, name in enumerate(names):
        draw_data(grid[0, column], outcome, name)
        density = draw_density(grid[1, column], outcome, name)
        paths = draw_paths(grid[2, column], outcome, name)
        draw_shift(grid[3, column], outcome, name)
        for row in range(4):
            style.plane(grid[row, column], name if row == 0 else "", labels=False)
        draw_log_density(grid[4, column], outcome, name)
        images = [density, paths]
    labels = ("data", "model density", "regularisation", "policy shift", "log-density (nats)")
    for axis, label in zip(grid[:, 0], labels, strict=True):
        axis.set_ylabel(label)
    for axis in grid[4, 1:]:
        axis.tick_params(labelleft=False)
    handles, texts = grid[4, 0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=3)
    _bars(figure, list(grid[1]), list(grid[2:4].flat), images[0], images[1], "right")
    return figure


def _bars(
    figure: Figure,
    density_axes: Axes | list[Axes],
    path_axes: Any,
    density: AxesImage,
    paths: LineCollection,
    location: str,
) -> None:
    """Adds the two scales: of the log-density and of 1/beta."""
    wide: dict[str, Any] = {"location": location, "aspect": 25 if location == "right" else 18}
    bar = figure.colorbar(density, ax=density_axes, extend="min", shrink=0.9, **wide)
    bar.set_label("log-density (nats)")
    bar = figure.colorbar(paths, ax=path_axes, shrink=0.9 if location == "right" else 0.6, **wide)
    bar.set_label("$1/\\beta$")
    bar.set_ticks([0, 0.1, 0.3, 0.6, 1.0], labels=["0", "0.1", "0.3", "0.6", "1"])
