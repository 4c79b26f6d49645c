"""Proposition 1: the policy of a family that minimises KL[pi_t || mu_t], at each t."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.quality.paper.propositions.mixtures import (
    BEHAVIOR,
    TIMES,
    Mixture,
    dirac,
    divergence,
)

__all__ = ["STARTS", "minimiser", "minimisers"]

Family = Callable[[Tensor], Mixture]


def gaussian(parameters: Tensor) -> Mixture:
    """A mean and a log standard deviation."""
    return Mixture(torch.ones(1).double(), parameters[:1], parameters[1:2].exp())


def two_gaussians(parameters: Tensor) -> Mixture:
    """A family that has the behavior in it: a logit, two means, two log standard deviations."""
    first = torch.sigmoid(parameters[:1])
    return Mixture(torch.cat([first, 1 - first]), parameters[1:3], parameters[3:5].exp())


# Where the search for a minimum starts: between the modes, and at each of them.
STARTS: dict[str, tuple[Family, list[list[float]]]] = {
    "Dirac": (dirac, [[-1.2], [0.0], [1.3]]),
    "Gaussian": (gaussian, [[-1.1, -1.0], [0.1, 0.1], [1.1, -1.0]]),
    "two Gaussians": (two_gaussians, [[0.0, -0.5, 0.7, -0.5, -0.5]]),
}


def minimiser(family: Family, starts: list[list[float]], behavior: Mixture, t: float) -> Mixture:
    """Returns the member of a family that minimises the divergence, the best from all starts."""
    found: list[tuple[float, Tensor]] = []
    for start in starts:
        parameters = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS(
            [parameters],
            max_iter=400,
            tolerance_grad=1e-13,
            tolerance_change=1e-16,
            line_search_fn="strong_wolfe",
        )

        def closure(p: Tensor = parameters, s: torch.optim.Optimizer = search) -> Tensor:
            s.zero_grad()
            loss = divergence(family(p), behavior, t)
            loss.backward()
            return loss

        search.step(closure)
        with torch.no_grad():
            found.append((divergence(family(parameters), behavior, t).item(), parameters.detach()))
    return family(min(found, key=lambda pair: pair[0])[1])


def minimisers(times: int) -> dict[str, list[float]]:
    """Returns the minimisers of each family, and what they attain, by `times` values of t."""
    found: dict[str, list[float]] = {"t": torch.linspace(*TIMES, times).tolist()}
    for t in found["t"]:
        row: dict[str, float] = {}
        for name, (family, starts) in STARTS.items():
            best = minimiser(family, starts, BEHAVIOR, t)
            for i, (mean, std) in enumerate(zip(best.means, best.stds, strict=True), start=1):
                row[f"{name}: mean {i}"] = mean.item()
                row[f"{name}: std {i}"] = std.item()
            row[f"{name}: KL"] = divergence(best, BEHAVIOR, t).item()
            if len(best.means) == len(BEHAVIOR.means):
                row[f"{name}: error"] = _error(best)
        for column, value in row.items():
            found.setdefault(column, []).append(value)
    return found


def _error(policy: Mixture) -> float:
    """Returns the largest difference of a parameter from the behavior's."""
    pairs = [
        (policy.weights, BEHAVIOR.weights),
        (policy.means, BEHAVIOR.means),
        (policy.stds, BEHAVIOR.stds),
    ]
    return max((a - b).abs().max().item() for a, b in pairs)
