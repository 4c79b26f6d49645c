"""Our methods on a problem: one strength each, the rest as documented."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.quality.inverse.problems import Problem, signed_misfit
from scoreregs import ScorePrior
from scoreregs.inverse import flow_dps, pnp_flow
from scoreregs.options import ValueFunction
from scoreregs.recipes import red_diff

__all__ = ["Method", "our_methods"]


@dataclass(frozen=True)
class Method:
    """A way to restore images.

    Attributes:
        strength: what the number that is chosen on validation images is called.
        grid: the values of it that are looked at.
        restore: the images in [0, 1] of a problem, a strength and a seed.
    """

    strength: str
    grid: tuple[float, ...]
    restore: Callable[[Problem, float, int], Tensor]


def our_methods(prior: ScorePrior, evaluations: int) -> dict[str, Method]:
    """Returns our methods under a prior of images in [-1, 1], by name.

    Args:
        prior: the prior.
        evaluations: of the prior's network for an image.
    """

    def by_red_diff(problem: Problem, strength: float, seed: int) -> Tensor:
        # The misfit in units of the noise, whose level a temperature then does not depend on.
        value = _value(problem, 2 * problem.noise)
        generator = torch.Generator().manual_seed(seed)
        objective = red_diff(value, prior, steps=evaluations, beta=strength, generator=generator)
        x = (2 * problem.projected() - 1).requires_grad_()
        optimizer = torch.optim.Adam([x], lr=0.1)
        for _ in range(evaluations):
            optimizer.zero_grad()
            objective(x).loss.backward()
            optimizer.step()
        return (x.detach() + 1) / 2

    def by_pnp_flow(problem: Problem, strength: float, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        x = pnp_flow(
            _value(problem, 1.0),
            prior,
            2 * problem.projected() - 1,
            steps=evaluations,
            decay=strength,
            draws=1,
            generator=generator,
        )
        return (x + 1) / 2

    def by_flow_dps(problem: Problem, strength: float, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        x = flow_dps(
            _value(problem, 1.0),
            prior,
            torch.zeros(len(problem.measured), 1, 8, 8),
            steps=evaluations,
            step_size=strength,
            generator=generator,
        )
        return (x + 1) / 2

    return {
        "RED-diff": Method("beta", (0.005, 0.02, 0.08, 0.32, 1.28), by_red_diff),
        "PnP-Flow": Method("decay", (0.01, 0.05, 0.25, 0.5, 1.0), by_pnp_flow),
        "FlowDPS": Method("step_size", (0.25, 0.5, 1.0, 1.5, 1.9), by_flow_dps),
    }


def _value(problem: Problem, scale: float) -> ValueFunction:
    def value(x: Tensor, condition: object) -> Tensor:
        return -0.5 * (signed_misfit(problem, x) / scale).square().sum(1)

    return value
