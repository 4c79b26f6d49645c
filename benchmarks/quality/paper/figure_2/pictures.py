"""The paper's four panels, the last in three forms, and all policies over beta."""

from collections.abc import Callable
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality.paper import style
from benchmarks.quality.paper.figure_2.bandit import (
    DIFFUSION,
    EQ_10,
    EQ_15,
    EQ_15_LOCAL,
    GAUSSIAN,
    METHODS,
    PEAK,
    value,
)
from benchmarks.quality.paper.outcome import Outcome

__all__ = ["draw"]


def draw(outcome: Outcome) -> dict[str, Figure]:
    """Returns the paper's four panels, the last in three forms, and all methods over beta."""
    numbers = outcome.numbers
    figure = style.figure(13, 7.2)
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.2))
    axes = above.subplots(1, 6, sharey=True)
    panels = {
        "data": "(a) behavior data\n",
        GAUSSIAN: "(b) forward KL,\nGaussian",
        DIFFUSION: "(c) forward KL,\ndiffusion",
        EQ_10: "(d) reverse KL,\nDirac, Eq. 10",
        EQ_15: "(e) reverse KL,\nDirac, Eq. 15",
        EQ_15_LOCAL: "(f) reverse KL, Dirac,\nEq. 15, log-SNR 1 to 5",
    }
    for axis, (panel, title) in zip(axes, panels.items(), strict=True):
        _panel(axis, outcome, panel, title)
        axis.label_outer()
    handles, labels = axes[0].get_legend_handles_labels()
    above.legend(handles, labels, loc="outside lower center", ncols=4, markerscale=2)
    charts = below.subplots(1, 3)
    rows = numbers["rows"]
    _curves(charts[0], rows, lambda row: 100 * row["share_outside"])
    _curves(charts[1], rows, lambda row: row["median_log_density"])
    _curves(charts[2], rows, lambda row: row["mean_value"])
    references = (
        100 * numbers["data_share_outside"],
        numbers["data_median_log_density"],
        numbers["data_mean_value"],
    )
    for axis, height in zip(charts, references, strict=True):
        axis.axhline(height, color="0.5", linestyle=":", label="behavior data")
    charts[0].set(ylabel="actions outside the support (%)", title="(g) leaving the data")
    charts[1].set(ylabel="median log-density (nats)", title="(h) the density where they are")
    charts[2].set(ylabel="mean value Q", title="(i) following the value")
    handles, labels = charts[0].get_legend_handles_labels()
    below.legend(handles, labels, loc="outside lower center", ncols=3)
    return {"figure-2": figure}


def _panel(axis: Axes, outcome: Outcome, panel: str, title: str) -> None:
    """Draws the actions of one policy over the contours of the value."""
    grid = torch.linspace(-style.PLANE, style.PLANE, 80)
    across, up = torch.meshgrid(grid, grid, indexing="xy")
    height = value(torch.stack([across, up], dim=-1).reshape(-1, 2)).reshape(80, 80)
    axis.contour(across, up, height, levels=7, colors=style.VALUE, linewidths=0.7)
    found = outcome.tables["actions"]
    rows = [i for i, name in enumerate(found["panel"]) if name == panel]
    points = {
        inside: [(found["a_1"][i], found["a_2"][i]) for i in rows if found["inside"][i] == inside]
        for inside in (1.0, 0.0)
    }
    for inside, color, marker, label in (
        (1.0, style.BLUE, "o", "action in the support"),
        (0.0, style.VERMILION, "x", "action outside"),
    ):
        x, y = zip(*points[inside], strict=True) if points[inside] else ((), ())
        axis.scatter(x, y, s=9, c=color, marker=marker, linewidths=0.9, label=label)
    axis.plot([], [], color=style.VALUE, label="contours of Q")
    peaks = torch.stack([PEAK, -PEAK]).T
    axis.plot(*peaks, "k+", markersize=9, markeredgewidth=1.6, linestyle="", label="maxima of Q")
    style.plane(axis, f"{title}\n{_outside(outcome, panel):.1%} outside", size=10)


def _outside(outcome: Outcome, panel: str) -> float:
    numbers = outcome.numbers
    if panel == "data":
        return numbers["data_share_outside"]
    shown = (panel, numbers["shown_beta"])
    return next(
        row["share_outside"] for row in numbers["rows"] if (row["method"], row["beta"]) == shown
    )


def _curves(
    axis: Axes, rows: list[dict[str, Any]], height: Callable[[dict[str, Any]], float]
) -> None:
    looks = zip(METHODS, style.COLORS, style.MARKERS, style.LINES, strict=False)
    for method, color, marker, line in looks:
        chosen = [row for row in rows if row["method"] == method]
        axis.plot(
            [row["beta"] for row in chosen],
            [height(row) for row in chosen],
            color=color,
            marker=marker,
            linestyle=line,
            label=method,
        )
    betas = [row["beta"] for row in rows if row["method"] == METHODS[0]]
    axis.set_xscale("log", base=2)
    axis.set_xticks(betas, [f"{beta:g}" for beta in betas])
    axis.set_xlabel("temperature $\\beta$")
