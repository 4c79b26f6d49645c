"""Models of six densities, and the actions that climb Q on each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from benchmarks.quality.paper import style
from benchmarks.quality.paper.climb import as_eq_10, climb
from benchmarks.quality.paper.models import Fit, SideBySide, fit
from benchmarks.quality.paper.outcome import Outcome, columns
from benchmarks.quality.paper.targets import Target, share_outside, targets
from scoreregs import ScorePrior
from scoreregs.probability_flow import log_density

__all__ = ["FULL", "QUICK", "Budget", "measure", "optimise"]

REACH = 4.0


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
