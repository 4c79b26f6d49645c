"""Figures 3 and 7: from greedy to conservative actions as 1/beta grows, on six densities.

A diffusion model is fit to each density; Q is minus the squared distance to a point of a grid, one
after the other; the actions climb Q under Eq. 10 from that point, for every temperature. The six
models are one network, and all points and temperatures one batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Generator, Tensor

from benchmarks.quality.paper import style
from benchmarks.quality.paper.climb import as_eq_10, climb
from benchmarks.quality.paper.models import Fit, SideBySide, fit
from benchmarks.quality.paper.outcome import Outcome, columns
from benchmarks.quality.paper.targets import Target, share_outside, targets
from scoreregs import ScorePrior
from scoreregs.probability_flow import log_density

__all__ = ["FULL", "QUICK", "Budget", "draw", "measure", "optimise", "table"]

REACH = 4.0
SHOWN = "2 spirals"
# Log-densities, in nats, below which a panel is of one colour.
FLOOR = -8.0


@dataclass(frozen=True)
class Budget:
    """How much is computed.

    Attributes:
        data: samples of each density.
        fit: of the six models, side by side.
        support: samples that the bound of the support is taken from.
        held_out: samples for the divergence of a model from its density.
        pixels: of a side of a picture of the density.
        points: of a side of the grid of maxima of Q.
        temperatures: values of 1/beta, the squares of equal steps from 0 to 1.
        steps: of the actions.
    """

    data: int = 50_000
    fit: Fit = field(default_factory=Fit)
    support: int = 100_000
    held_out: int = 4000
    pixels: int = 72
    points: int = 13
    temperatures: int = 15
    steps: int = 500


FULL = Budget()
QUICK = Budget(200, Fit(16, 10, 32), 500, 50, 6, 3, 3, 5)


def measure(budget: Budget, seed: int) -> Outcome:
    """Returns data, densities of the models, actions, and their log-density under the truth."""
    generator = torch.Generator().manual_seed(seed)
    chosen = targets()
    data = [target.sample(budget.data, generator) for target in chosen]
    network = fit(data, budget.fit, generator)
    axis = torch.linspace(-REACH, REACH, budget.points)
    centres = torch.cartesian_prod(axis, axis)
    inverse_betas = torch.linspace(0, 1, budget.temperatures).square()
    actions = optimise(
        network.prior(), centres, inverse_betas, members=len(chosen), steps=budget.steps
    )
    models, densities = _models(budget, network, chosen, generator)
    rows = []
    for member, target in enumerate(chosen):
        threshold = target.threshold(generator, budget.support)
        models[member]["entropy"] = -target.log_density(data[member]).mean().item()
        for i, inverse_beta in enumerate(inverse_betas.tolist()):
            rows.append(_row(target, inverse_beta, actions[i, :, member], threshold))
    names = [f"{target.name} {i}" for target in chosen for i in (1, 2)]
    conditions = torch.cat(
        [inverse_betas.repeat_interleave(len(centres))[:, None], centres.repeat(len(actions), 1)],
        dim=1,
    )
    tables = {
        "data": columns(names, torch.stack(data, 1)[:500].flatten(1)),
        "density": columns([target.name for target in chosen], densities),
        "actions": columns(
            ["inverse_beta", "maximum 1", "maximum 2", *names],
            torch.cat([conditions, actions.flatten(0, 1).flatten(1)], dim=1),
        ),
    }
    support = "true density above the threshold, a region of 99 % of the mass"
    return Outcome({"support": support, "models": models, "rows": rows}, tables)


def optimise(
    prior: ScorePrior,
    centres: Tensor,
    inverse_betas: Tensor,
    *,
    members: int,
    steps: int,
    start: Tensor | None = None,
) -> Tensor:
    """Returns the actions that maximise -|a - centre|^2 under Eq. 10.

    Args:
        prior: of events (members, 2).
        centres: the maxima of Q, (count, 2).
        inverse_betas: values of 1/beta, (temperatures,); 0 leaves the prior out.
        members: how many densities the prior has side by side.
        steps: of Adam.
        start: where the actions start, (count, 2); by default at the maxima of Q.

    Returns:
        (temperatures, count, members, 2)
    """

    def tiled(points: Tensor) -> Tensor:
        return points.repeat(len(inverse_betas), 1)[:, None].repeat(1, members, 1)

    def value(x: Tensor, maximum: Tensor) -> Tensor:
        return -(x - maximum).square().sum((-1, -2))

    maxima = tiled(centres)
    found = climb(
        as_eq_10(value, prior),
        maxima if start is None else tiled(start),
        maxima,
        beta=1 / inverse_betas.repeat_interleave(len(centres)),
        steps=steps,
        noise=torch.zeros_like(maxima),
    )
    return found.unflatten(0, (len(inverse_betas), len(centres)))


def _models(
    budget: Budget, network: SideBySide, chosen: Sequence[Target], generator: Generator
) -> tuple[list[dict[str, Any]], Tensor]:
    """Returns how good each model is, and its log-density on the grid of pixels, (n, members)."""
    grid = torch.cartesian_prod(*[_pixels(budget.pixels)] * 2)
    cell = (2 * style.PLANE / budget.pixels) ** 2
    rows, densities = [], []
    for member, target in enumerate(chosen):
        prior = network.prior_of(member)
        x = target.sample(budget.held_out, generator)
        lost = target.log_density(x) - log_density(prior, x, tolerance=1e-4)
        densities.append(log_density(prior, grid, tolerance=1e-3))
        mass = densities[-1].double().exp().sum().item() * cell
        rows.append({"target": target.name, "divergence": lost.mean().item(), "mass": mass})
    return rows, torch.stack(densities, dim=1)


def _pixels(count: int) -> Tensor:
    """Returns the middles of the pixels of a side."""
    return style.PLANE * (2 * (torch.arange(count) + 0.5) / count - 1)


def _row(target: Target, inverse_beta: float, actions: Tensor, threshold: float) -> dict[str, Any]:
    """Returns what is said of the actions of one density and temperature."""
    found = target.log_density(actions)
    lower, median, upper = found.quantile(torch.tensor([0.25, 0.5, 0.75]).double()).tolist()
    return {
        "target": target.name,
        "inverse_beta": inverse_beta,
        "log_density_mean": found.mean().item(),
        "log_density_quartiles": [lower, median, upper],
        "share_outside": share_outside(target, actions, threshold),
    }


def table(outcome: Outcome) -> str:
    """Returns median log-density and share outside the support by 1/beta, and each model's loss."""
    rows = outcome.numbers["rows"]
    available = sorted({row["inverse_beta"] for row in rows})
    shown = sorted({min(available, key=lambda b: abs(b - near)) for near in (0, 0.02, 0.1, 0.3, 1)})
    titles = [f"1/beta {b:.2g}" for b in shown]
    lines = [
        f"| Density | Of the data | {' | '.join(titles)} | KL of the model |",
        "|---" * (len(shown) + 3) + "|",
    ]
    for model in outcome.numbers["models"]:
        cells = {
            row["inverse_beta"]: (
                f"{row['log_density_quartiles'][1]:.1f} ({row['share_outside']:.0%})"
            )
            for row in rows
            if row["target"] == model["target"]
        }
        found = " | ".join(cells[b] for b in shown)
        divergence = f"{model['divergence']:.3f}"
        lines.append(f"| {model['target']} | {-model['entropy']:.1f} | {found} | {divergence} |")
    return "\n".join(lines)


def draw(outcome: Outcome) -> dict[str, Figure]:
    """Returns Figure 3, of one density, and Figure 7, of all."""
    names = [model["target"] for model in outcome.numbers["models"]]
    return {"figure-3": _figure_3(outcome, SHOWN), "figure-7": _figure_7(outcome, names)}


def _figure_3(outcome: Outcome, name: str) -> Figure:
    figure = style.figure(13, 3.6, layout="compressed")
    axes = figure.subplots(1, 5)
    _draw_data(axes[0], outcome, name)
    density = _draw_density(axes[1], outcome, name)
    _draw_values(axes[2], outcome)
    paths = _draw_paths(axes[3], outcome, name)
    _draw_shift(axes[4], outcome, name)
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
        _draw_data(grid[0, column], outcome, name)
        density = _draw_density(grid[1, column], outcome, name)
        paths = _draw_paths(grid[2, column], outcome, name)
        _draw_shift(grid[3, column], outcome, name)
        for row in range(4):
            style.plane(grid[row, column], name if row == 0 else "", labels=False)
        _draw_log_density(grid[4, column], outcome, name)
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


def _draw_data(axis: Axes, outcome: Outcome, name: str) -> None:
    found = outcome.tables["data"]
    axis.scatter(found[f"{name} 1"], found[f"{name} 2"], s=3, c=style.BLUE, linewidths=0)


def _draw_density(axis: Axes, outcome: Outcome, name: str) -> AxesImage:
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


def _draw_values(axis: Axes, outcome: Outcome) -> None:
    found = outcome.tables["actions"]
    maxima = sorted(set(zip(found["maximum 1"], found["maximum 2"], strict=True)))
    angle = np.linspace(0, 2 * np.pi, 60)
    for x, y in maxima:
        x, y = float(x), float(y)
        for radius in (0.12, 0.24):
            ring = x + radius * np.cos(angle), y + radius * np.sin(angle)
            axis.plot(*ring, color=style.SKY, linewidth=0.6)
        axis.plot(x, y, ".", color=style.BLUE, markersize=2.5)


def _draw_paths(axis: Axes, outcome: Outcome, name: str) -> LineCollection:
    """Draws the way of each optimum from the maximum of its Q, coloured by 1/beta."""
    inverse_betas, actions = _actions(outcome, name)
    _grey_data(axis, outcome, name)
    parts = np.stack([actions[:-1], actions[1:]], axis=2).reshape(-1, 2, 2)
    middles = np.repeat((inverse_betas[:-1] + inverse_betas[1:]) / 2, actions.shape[1])
    lines = LineCollection(list(parts), cmap=style.INVERSE_BETA, norm=_norm(), linewidths=0.8)
    lines.set_array(middles)
    axis.add_collection(lines)
    return lines


def _draw_shift(axis: Axes, outcome: Outcome, name: str) -> None:
    """Draws the optima alone, coloured by 1/beta."""
    inverse_betas, actions = _actions(outcome, name)
    _grey_data(axis, outcome, name)
    shown = [np.abs(inverse_betas - near).argmin() for near in (0, 0.1, 0.3, 1)]
    for i in shown:
        color = style.INVERSE_BETA(_norm()(inverse_betas[i]))
        axis.scatter(*actions[i].T, s=5, color=color, linewidths=0)


def _draw_log_density(axis: Axes, outcome: Outcome, name: str) -> None:
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
