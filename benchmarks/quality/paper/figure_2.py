"""Figure 2: three ways to extract a policy in a bandit, and how often each leaves the data.

The data are eight Gaussians on a circle. The value has two humps, and both peaks lie off the data,
in the middle of a gap between two modes. The optimum of Eq. 1, mu exp(beta Q), is approached by

- a Gaussian under forward KL: weighted regression, Eq. 2, whose maximum is the weighted mean and
  covariance of the data;
- a diffusion model under forward KL: trained on data drawn again in proportion to exp(beta Q),
  which is weighted regression in expectation, and sampled through the probability-flow ODE;
- a Dirac policy under reverse KL, from many starts, in three forms: Eq. 10, Eq. 15 as the paper
  sets it, and Eq. 15 over the noise levels that are no wider than a gap.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor

from benchmarks.quality.paper import style
from benchmarks.quality.paper.climb import as_eq_10, climb
from benchmarks.quality.paper.models import SCHEDULE, Fit, fit
from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.paper.targets import Target, eight_gaussians, share_outside
from scoreregs import ScorePrior, ScoreRegularizedObjective
from scoreregs.probability_flow import sample
from scoreregs.times import LogSNRTimes

__all__ = ["FULL", "QUICK", "Budget", "draw", "measure", "table", "weighted_gaussian"]

PEAK = 3.4 * torch.tensor([math.cos(math.pi / 8), math.sin(math.pi / 8)])
LOG_SNR = (1.0, 5.0)
SHOWN_BETA = 1.0
GAUSSIAN, DIFFUSION = "forward KL, Gaussian", "forward KL, diffusion"
EQ_10, EQ_15 = "reverse KL, Dirac, Eq. 10", "reverse KL, Dirac, Eq. 15 as in the paper"
EQ_15_LOCAL = "reverse KL, Dirac, Eq. 15 at log-SNR 1 to 5"
METHODS = (GAUSSIAN, DIFFUSION, EQ_10, EQ_15, EQ_15_LOCAL)


@dataclass(frozen=True)
class Budget:
    """How much is computed.

    Attributes:
        betas: the temperatures.
        data: samples of the behavior.
        fit: of the behavior model and the weighted ones, side by side.
        samples: of each stochastic policy.
        starts: of each Dirac policy.
        steps: of each Dirac policy.
    """

    betas: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    data: int = 50_000
    fit: Fit = field(default_factory=lambda: Fit(steps=4000))
    samples: int = 4000
    starts: int = 400
    steps: int = 600


FULL = Budget()
QUICK = Budget((SHOWN_BETA, 2.0), 500, Fit(16, 20, 32), 50, 10, 5)


def value(x: Tensor, condition: None = None) -> Tensor:
    """Returns Q: two humps of height 2 around opposite peaks, (batch,)."""
    humps = [torch.exp(-(x - peak).square().sum(-1) / 8) for peak in (PEAK, -PEAK)]
    return 2 * (humps[0] + humps[1])


def weighted_gaussian(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean (2,) and covariance (2, 2), the maximum of the weighted log-likelihood."""
    weights = weights / weights.sum()
    mean = weights @ x
    offset = x - mean
    return mean, (weights[:, None] * offset).T @ offset


def measure(budget: Budget, seed: int) -> Outcome:
    """Returns how far every method leaves the data, and its mean value, at every beta."""
    generator = torch.Generator().manual_seed(seed)
    target = eight_gaussians()
    threshold = target.threshold(generator)
    data = target.sample(budget.data, generator)
    forward, prior = _forward(budget, data, generator)
    actions = forward | _reverse(budget, prior, generator)
    rows = [
        {
            "method": method,
            "beta": beta,
            "share_outside": share_outside(target, points, threshold),
            "median_log_density": target.log_density(points).median().item(),
            "mean_value": value(points).mean().item(),
        }
        for method in METHODS
        for beta, points in actions[method].items()
    ]
    fresh = target.sample(budget.samples, generator)
    greedy = PEAK[None]
    numbers = {
        "support": "true density above the threshold, a region of 99 % of the mass",
        "log_density_threshold": threshold,
        "shown_beta": SHOWN_BETA,
        "data_share_outside": share_outside(target, fresh, threshold),
        "data_median_log_density": target.log_density(fresh).median().item(),
        "data_mean_value": value(fresh).mean().item(),
        "greedy_share_outside": share_outside(target, greedy, threshold),
        "greedy_value": value(greedy).item(),
        "best_inside_value": _best_inside(target, threshold),
        "rows": rows,
    }
    return Outcome(numbers, {"actions": _shown(target, threshold, fresh, actions)})


def _forward(
    budget: Budget, data: Tensor, generator: Generator
) -> tuple[dict[str, dict[float, Tensor]], ScorePrior]:
    """Returns the actions of both forward methods by beta, and the model of the behavior."""
    gaussian, chosen = {}, []
    for beta in budget.betas:
        weights = torch.softmax(beta * value(data), 0)
        mean, covariance = weighted_gaussian(data, weights)
        noise = torch.randn(budget.samples, 2, generator=generator)
        gaussian[beta] = mean + noise @ torch.linalg.cholesky(covariance).T
        rows = torch.multinomial(weights, len(data), replacement=True, generator=generator)
        chosen.append(data[rows])
    network = fit([data, *chosen], budget.fit, generator)
    shape = (budget.samples, len(budget.betas) + 1, 2)
    samples = sample(network.prior(), shape, tolerance=1e-4, generator=generator)
    diffusion = {beta: samples[:, i + 1] for i, beta in enumerate(budget.betas)}
    return {GAUSSIAN: gaussian, DIFFUSION: diffusion}, network.prior_of(0)


def _reverse(
    budget: Budget, prior: ScorePrior, generator: Generator
) -> dict[str, dict[float, Tensor]]:
    """Returns the actions of the Dirac policies by beta, all temperatures as one batch."""
    papers = ScoreRegularizedObjective.from_value(
        value, prior, draws=4, reduction="sum", generator=generator
    )
    local = ScoreRegularizedObjective.from_value(
        value,
        prior,
        times=LogSNRTimes(SCHEDULE, *LOG_SNR, points="low_discrepancy"),
        weighting="uniform",
        draws=4,
        reduction="sum",
        generator=generator,
    )
    beta = torch.tensor(budget.betas).repeat_interleave(budget.starts)
    start = 2 * torch.randn(budget.starts, 2, generator=generator)
    start = start.repeat(len(budget.betas), 1)
    found = {}
    for method, objective in (
        (EQ_10, as_eq_10(value, prior)),
        (EQ_15, papers),
        (EQ_15_LOCAL, local),
    ):
        noise = torch.zeros_like(start) if method == EQ_10 else None
        x = climb(objective, start, None, beta=beta, steps=budget.steps, noise=noise)
        found[method] = dict(zip(budget.betas, x.split(budget.starts), strict=True))
    return found


def _best_inside(target: Target, threshold: float) -> float:
    """Returns the largest value inside the support, on a grid."""
    axis = torch.linspace(-4.5, 4.5, 601)
    grid = torch.cartesian_prod(axis, axis)
    return value(grid[target.log_density(grid) >= threshold]).max().item()


def _shown(
    target: Target, threshold: float, data: Tensor, actions: dict[str, dict[float, Tensor]]
) -> dict[str, list[Any]]:
    """Returns the actions that are drawn, at most 400 of each panel."""
    found: dict[str, list[Any]] = {"panel": [], "a_1": [], "a_2": [], "inside": []}
    panels = {"data": data} | {method: actions[method][SHOWN_BETA] for method in METHODS}
    for panel, points in panels.items():
        kept = points[:400]
        found["panel"] += [panel] * len(kept)
        found["a_1"] += kept[:, 0].tolist()
        found["a_2"] += kept[:, 1].tolist()
        found["inside"] += (target.log_density(kept) >= threshold).double().tolist()
    return found


def table(outcome: Outcome) -> str:
    """Returns share outside the support, median log-density and mean value, by beta."""
    rows = outcome.numbers["rows"]
    betas = sorted({row["beta"] for row in rows})
    lines = [
        f"| Outside / log-density / Q | {' | '.join(f'beta {b:g}' for b in betas)} |",
        "|---" * (len(betas) + 1) + "|",
    ]
    for method in METHODS:
        cells = {
            row["beta"]: (
                f"{row['share_outside']:.1%} / {row['median_log_density']:.1f} / "
                f"{row['mean_value']:.2f}"
            )
            for row in rows
            if row["method"] == method
        }
        name = method[0].upper() + method[1:]
        lines.append(f"| {name} | {' | '.join(cells[beta] for beta in betas)} |")
    return "\n".join(lines)


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
