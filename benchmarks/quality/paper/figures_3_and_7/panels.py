"""The panels that both figures are made of."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage

from benchmarks.quality.paper import style
from benchmarks.quality.paper.outcome import Outcome

__all__ = [
    "draw_data",
    "draw_density",
    "draw_log_density",
    "draw_paths",
    "draw_shift",
    "draw_values",
]

# Log-densities, in nats, below which a panel is of one colour.
FLOOR = -8.0


def draw_data(axis: Axes, outcome: Outcome, name: str) -> None:
    found = outcome.tables["data"]
    axis.scatter(found[f"{name} 1"], found[f"{name} 2"], s=3, c=style.BLUE, linewidths=0)


def draw_density(axis: Axes, outcome: Outcome, name: str) -> AxesImage:
    found = np.array(outcome.tables["density"][name], dtype=float)
    side = math.isqrt(len(found))
    extent = (-style.PLANE, style.PLANE, -style.PLANE, style.PLANE)
    return axis.imshow(
        found.reshape(side, side).T,
        origin="lower",
        extent=extent,
        cmap=style.DENSITY,
        norm=Normalize(FLOOR, -1),
        interpolation="bilinear",
    )


def draw_values(axis: Axes, outcome: Outcome) -> None:
    found = outcome.tables["actions"]
    maxima = sorted(set(zip(found["maximum 1"], found["maximum 2"], strict=True)))
    angle = np.linspace(0, 2 * np.pi, 60)
    for x, y in maxima:
        x, y = float(x), float(y)
        for radius in (0.12, 0.24):
            ring = x + radius * np.cos(angle), y + radius * np.sin(angle)
            axis.plot(*ring, color=style.SKY, linewidth=0.6)
        axis.plot(x, y, ".", color=style.BLUE, markersize=2.5)


def draw_paths(axis: Axes, outcome: Outcome, name: str) -> LineCollection:
    """Draws the way of each optimum from the maximum of its Q, coloured by 1/beta."""
    inverse_betas, actions = _actions(outcome, name)
    _grey_data(axis, outcome, name)
    parts = np.stack([actions[:-1], actions[1:]], axis=2).reshape(-1, 2, 2)
    middles = np.repeat((inverse_betas[:-1] + inverse_betas[1:]) / 2, actions.shape[1])
    lines = LineCollection(list(parts), cmap=style.INVERSE_BETA, norm=_norm(), linewidths=0.8)
    lines.set_array(middles)
    axis.add_collection(lines)
    return lines


def draw_shift(axis: Axes, outcome: Outcome, name: str) -> None:
    """Draws the optima alone, coloured by 1/beta."""
    inverse_betas, actions = _actions(outcome, name)
    _grey_data(axis, outcome, name)
    shown = [np.abs(inverse_betas - near).argmin() for near in (0, 0.1, 0.3, 1)]
    for i in shown:
        color = style.INVERSE_BETA(_norm()(inverse_betas[i]))
        axis.scatter(*actions[i].T, s=5, color=color, linewidths=0)


def draw_log_density(axis: Axes, outcome: Outcome, name: str) -> None:
    rows = [row for row in outcome.numbers["rows"] if row["target"] == name]
    inverse_betas = [row["inverse_beta"] for row in rows]
    lower, median, upper = zip(*[row["log_density_quartiles"] for row in rows], strict=True)
    axis.fill_between(inverse_betas, lower, upper, color=style.SKY, alpha=0.4, label="quartiles")
    axis.plot(inverse_betas, median, color=style.BLUE, marker=".", label="median of the actions")
    entropy = next(m["entropy"] for m in outcome.numbers["models"] if m["target"] == name)
    axis.axhline(-entropy, color=style.VERMILION, linestyle="--", label="mean of the data")
    axis.set(ylim=(-16, 0), xlabel="$1/\\beta$", xticks=(0, 0.5, 1))
    axis.set_box_aspect(1)


def _grey_data(axis: Axes, outcome: Outcome, name: str) -> None:
    found = outcome.tables["data"]
    axis.scatter(found[f"{name} 1"], found[f"{name} 2"], s=5, c="0.85", linewidths=0)


def _norm() -> Normalize:
    return Normalize(0, 1)


def _actions(outcome: Outcome, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns 1/beta, (temperatures,), and the actions, (temperatures, count, 2)."""
    found = outcome.tables["actions"]
    inverse_betas = np.unique(np.array(found["inverse_beta"], dtype=float))
    points = np.array([found[f"{name} 1"], found[f"{name} 2"]], dtype=float).T
    return inverse_betas, points.reshape(len(inverse_betas), -1, 2)
