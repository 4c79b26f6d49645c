"""How far every policy leaves the data, and its mean value, by temperature."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks.quality.paper.figure_2.bandit import METHODS, PEAK, value
from benchmarks.quality.paper.figure_2.policies import Actions, forward_policies, reverse_policies
from benchmarks.quality.paper.models import Fit
from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.paper.targets import Target, eight_gaussians, share_outside

__all__ = ["FULL", "QUICK", "Budget", "measure"]

SHOWN_BETA = 1.0


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


def measure(budget: Budget, seed: int) -> Outcome:
    """Returns how far every method leaves the data, and its mean value, at every beta."""
    generator = torch.Generator().manual_seed(seed)
    target = eight_gaussians()
    threshold = target.threshold(generator)
    data = target.sample(budget.data, generator)
    betas = budget.betas
    forward, prior = forward_policies(data, betas, budget.fit, budget.samples, generator)
    actions = forward | reverse_policies(prior, betas, budget.starts, budget.steps, generator)
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


def _best_inside(target: Target, threshold: float) -> float:
    """Returns the largest value inside the support, on a grid."""
    axis = torch.linspace(-4.5, 4.5, 601)
    grid = torch.cartesian_prod(axis, axis)
    return value(grid[target.log_density(grid) >= threshold]).max().item()


def _shown(
    target: Target, threshold: float, data: Tensor, actions: Actions
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
