"""What is computed for both propositions."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.paper.propositions.mixtures import BEHAVIOR, Mixture
from benchmarks.quality.paper.propositions.proposition_1 import minimisers
from benchmarks.quality.paper.propositions.proposition_2 import (
    WEIGHTINGS,
    gradients_in_std,
    regulariser_gradients,
    variance_ratio,
)
from benchmarks.quality.paper.propositions.trained import trained
from scoreregs import ScorePrior

__all__ = ["FULL", "QUICK", "Budget", "measure"]


@dataclass(frozen=True)
class Budget:
    """How much is computed.

    Attributes:
        times: values of t for Proposition 1.
        actions: values of a for Proposition 2.
        nodes: of the time quadrature.
        fit_steps: of a model that is not optimal.
    """

    times: int = 33
    actions: int = 61
    nodes: int = 40
    fit_steps: int = 500


FULL = Budget()
QUICK = Budget(3, 5, 12, 5)


def measure(budget: Budget, seed: int) -> Outcome:
    """Returns minimisers by t, gradients by action, and what is off where."""
    off, gradients = _gradients(budget, trained(budget.fit_steps, seed))
    standard = Mixture.of((1.0,), (0.0,), (1.0,))
    stds = torch.linspace(0.02, 1.6, budget.actions, dtype=torch.float64)
    eq_16, eq_15 = gradients_in_std(stds, standard, budget.nodes)
    behavior = {
        "weights": BEHAVIOR.weights.tolist(),
        "means": BEHAVIOR.means.tolist(),
        "stds": BEHAVIOR.stds.tolist(),
        "mean": BEHAVIOR.mean,
        "std": BEHAVIOR.std,
    }
    tables = {
        "minimisers": minimisers(budget.times),
        "gradients": gradients,
        "std": {"std": stds.tolist(), "eq_16": eq_16.tolist(), "eq_15": eq_15.tolist()},
    }
    return Outcome({"behavior": behavior, "proposition_2": off}, tables)


def _gradients(
    budget: Budget, not_optimal: ScorePrior
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Returns how far Eq. 15 is from Eq. 16 by weighting, and both by action for sigma^2."""
    actions = torch.linspace(-2.0, 2.0, budget.actions, dtype=torch.float64)
    optimal = BEHAVIOR.prior()
    gradients: dict[str, list[float]] = {"action": actions.tolist()}
    off: dict[str, Any] = {}
    for weighting in WEIGHTINGS:
        given = actions, BEHAVIOR, optimal, weighting, budget.nodes
        eq_16, eq_15 = regulariser_gradients(*given)
        _, no_baseline = regulariser_gradients(*given, baseline="none")
        off[weighting] = {
            "noise": _difference(eq_15, eq_16),
            "none": _difference(no_baseline, eq_16),
            "variance_ratio": {
                f"{a:g}": variance_ratio(a, optimal, weighting, budget.nodes)
                for a in (-1.0, 0.1, 1.2)
            },
        }
        if weighting == "sigma2":
            _, biased = regulariser_gradients(
                actions, BEHAVIOR, not_optimal, weighting, budget.nodes
            )
            off["not optimal"] = _difference(biased, eq_16)
            gradients |= {
                "eq_16": eq_16.tolist(),
                "eq_15": eq_15.tolist(),
                "eq_15_trained": biased.tolist(),
            }
    return off, gradients


def _difference(found: Tensor, expected: Tensor) -> float:
    """Returns the largest difference, relative to the largest that is expected."""
    return ((found - expected).abs().max() / expected.abs().max()).item()
