"""Learning curves as in Figures 4 and 11: one panel for each task that was run."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality.paper import style
from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.table_1.published import PUBLISHED
from benchmarks.quality.table_1.table import of_task

__all__ = ["draw"]

_COLUMNS = 3


def draw(outcome: Outcome) -> Figure:
    """Returns the mean over seeds with a band of one standard deviation, beside the paper's."""
    tasks = [task for task in PUBLISHED if task in outcome.numbers["tasks"]]
    columns = min(_COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = style.figure(max(6.4, 4.0 * columns), 0.9 + 2.6 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, task in zip(axes, tasks, strict=False):
        _draw_task(axis, outcome, task)
    for axis in axes[len(tasks) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    scale = outcome.numbers["budget"]["scale"]
    if scale < 1:
        figure.suptitle(f"{100 * scale:g} % of the paper's steps: not comparable", fontsize=11)
    return figure


def _draw_task(axis: Axes, outcome: Outcome, task: str) -> None:
    curve = of_task(outcome, "curves", task)
    steps, place = np.unique(curve["step"], return_inverse=True)
    scores = np.array(curve["score"])
    of_steps = [scores[place == index] for index in range(len(steps))]
    mean = np.array([found.mean() for found in of_steps])
    several = len(of_steps[0]) > 1
    spread = np.array([found.std(ddof=1) if several else 0.0 for found in of_steps])
    marker = "o" if len(steps) == 1 else None
    axis.axhline(
        PUBLISHED[task].srpo, color="0.35", linestyle="--", label="SRPO, the paper's Table 1"
    )
    axis.plot(steps, mean, color=style.BLUE, marker=marker, label="SRPO, ours, mean")
    band = {"color": style.BLUE, "alpha": 0.25, "linewidth": 0}
    axis.fill_between(steps, mean - spread, mean + spread, label="± standard deviation", **band)
    axis.set(title=task, xlabel="policy step", ylabel="normalised score")
    axis.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
