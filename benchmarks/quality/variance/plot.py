"""The picture: every setting on every case, coloured by its ratio to the paper's estimator."""

import math
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from benchmarks.quality.variance.estimators import BASELINES, PAPER, RECOMMENDED
from benchmarks.quality.variance.table import QUANTITIES, Cell, Setting

__all__ = ["draw"]

TITLES = {
    "per sample": "per sample, 4 draws each",
    "parameters": "policy parameters, 256 states, 1 draw each",
}
LABELS = {"none": "no baseline", "noise": "noise", "optimal_noise": "c*(t) noise"}
REACH = 30.0


def draw(cells: list[Cell], path: Path) -> None:
    """Draws a heat map for each estimate; purple is less variance than the paper's, orange more."""
    settings = sorted({c.setting for c in cells}, key=_order)
    columns = len({c.case[1:] for c in cells})
    figure, axes = plt.subplots(
        1,
        2,
        figsize=(5 + 1.1 * columns, 2.6 + 0.27 * len(settings)),
        sharey=True,
        layout="constrained",
    )
    images = []
    for axis, quantity in zip(axes, QUANTITIES, strict=True):
        chosen = [c for c in cells if c.quantity == quantity]
        images.append(_panel(axis, chosen, settings))
        axis.set_title(TITLES[quantity])
    names = [f"{draws.replace('_', '-')}  |  {LABELS[baseline]}" for draws, baseline in settings]
    axes[0].set_yticks(range(len(settings)), names, fontsize=9)
    for label, setting in zip(axes[0].get_yticklabels(), settings, strict=True):
        if setting in (PAPER, RECOMMENDED):
            label.set_fontweight("bold")
    bar = figure.colorbar(images[0], ax=axes, shrink=0.6, extend="both")
    ticks = [0.03, 0.1, 0.3, 1, 3, 10, 30]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    bar.set_label("variance relative to the paper's estimator")
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=120, format="png")
    plt.close(figure)
    partial.replace(path)


def _panel(axis: Axes, cells: list[Cell], settings: list[Setting]) -> AxesImage:
    cases = list(dict.fromkeys(c.case for c in cells))
    ratios = np.full((len(settings), len(cases)), math.nan)
    for cell in cells:
        ratios[settings.index(cell.setting), cases.index(cell.case)] = cell.ratio
    colors = mpl.colormaps["PuOr_r"].with_extremes(bad="0.92")
    norm = LogNorm(1 / REACH, REACH)
    image = axis.imshow(np.clip(ratios, 1 / REACH, REACH), cmap=colors, norm=norm, aspect="auto")
    for (row, column), ratio in np.ndenumerate(ratios):
        if not math.isnan(ratio):
            dark = abs(math.log(ratio)) > 0.6 * math.log(REACH)
            color = "white" if dark else "black"
            axis.text(column, row, _short(ratio), ha="center", va="center", fontsize=7, color=color)
    labels = [f"{prior}, {place}" for _, prior, place in cases]
    axis.set_xticks(range(len(cases)), labels, rotation=55, ha="right", fontsize=9)
    for row, setting in enumerate(settings):
        if setting in (PAPER, RECOMMENDED):
            box = ((-0.5, row - 0.5), len(cases), 1)
            axis.add_patch(Rectangle(*box, fill=False, linewidth=2, clip_on=False))
    return image


def _order(setting: Setting) -> tuple[int, int, str]:
    draws, baseline = setting
    rank = ("independent", "stratified", "low_discrepancy").index(draws.split(", ")[1])
    return BASELINES.index(baseline), rank, draws


def _short(ratio: float) -> str:
    if ratio >= 100:
        return f"{ratio:.0e}".replace("e+0", "e")
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}".lstrip("0")
