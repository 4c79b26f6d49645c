"""The six toy densities of Figures 3 and 7, with a log-density that is exact.

Each is a mixture of equal isotropic Gaussians around nodes: eight of them, or so many along a curve
or over squares that the nodes cannot be told apart. Samples and log-density are of the same
mixture, so that nothing is approximated. The shapes have the sizes that are usual for them; the
paper does not state its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

__all__ = ["TARGETS", "Target", "eight_gaussians", "share_outside", "targets"]

MASS = 0.99


@dataclass(frozen=True, eq=False)
class Target:
    """A mixture of equal isotropic Gaussians in the plane.

    Attributes:
        name: as in the paper.
        nodes: the means, (count, 2).
        scale: the standard deviation of each.
    """

    name: str
    nodes: Tensor
    scale: float

    def sample(self, count: int, generator: Generator) -> Tensor:
        """Returns samples, (count, 2)."""
        chosen = torch.randint(len(self.nodes), (count,), generator=generator)
        return self.nodes[chosen] + self.scale * torch.randn(count, 2, generator=generator)

    def log_density(self, x: Tensor) -> Tensor:
        """Returns the log-density, in nats, of points (count, 2)."""
        constant = math.log(len(self.nodes) * 2 * math.pi * self.scale**2)
        nodes = self.nodes.double()
        found = [
            torch.logsumexp(-torch.cdist(part, nodes).square() / (2 * self.scale**2), dim=1)
            for part in x.double().split(4096)
        ]
        return torch.cat(found) - constant

    def threshold(self, generator: Generator, count: int = 100_000) -> float:
        """Returns the log-density above which 99 % of the mass lies, the bound of the support."""
        return self.log_density(self.sample(count, generator)).quantile(1 - MASS).item()


def share_outside(target: Target, x: Tensor, threshold: float) -> float:
    """Returns the share of points, (count, 2), whose log-density is below a threshold."""
    return (target.log_density(x) < threshold).double().mean().item()


def eight_gaussians() -> Target:
    """Eight Gaussians on a circle."""
    angle = torch.arange(8) * (2 * math.pi / 8)
    return Target("8 gaussians", 2.83 * _direction(angle), 0.35)


def swiss_roll() -> Target:
    """A roll of one turn and a half, whose density falls outwards."""
    angle = 1.5 * math.pi * (1 + 2 * _steps(600))
    return Target("swiss roll", angle[:, None] / 5 * _direction(angle), 0.2)


def checkerboard() -> Target:
    """Eight squares of side 2 in a square of side 8, their edges blurred by 0.15."""
    inside = 2 * _steps(8)
    square = torch.cartesian_prod(inside, inside)
    corners = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    corners = corners[corners.sum(1) % 2 == 0] * 2.0 - 4
    return Target("checkerboard", (corners[:, None] + square).flatten(0, 1), 0.15)


def two_spirals() -> Target:
    """Two arms of one turn and a half each."""
    angle = 3 * math.pi * _steps(400).sqrt()
    arm = angle[:, None] / 3 * _direction(-angle)
    return Target("2 spirals", torch.cat([arm, -arm]), 0.12)


def rings() -> Target:
    """Four rings of equal mass."""
    radii = torch.tensor([0.75, 1.5, 2.25, 3.0])
    circle = _direction(2 * math.pi * _steps(200))
    return Target("rings", (radii[:, None, None] * circle).flatten(0, 1), 0.08)


def moons() -> Target:
    """Two interleaved half circles."""
    angle = math.pi * _steps(150)
    upper = 2 * _direction(angle) - torch.tensor([1.0, 0.5])
    return Target("moons", torch.cat([upper, -upper]), 0.2)


TARGETS: tuple[Callable[[], Target], ...] = (
    eight_gaussians,
    swiss_roll,
    checkerboard,
    two_spirals,
    rings,
    moons,
)


def targets() -> list[Target]:
    """Returns all six, in the order of the paper."""
    return [make() for make in TARGETS]


def _steps(count: int) -> Tensor:
    """Returns the middles of equal parts of (0, 1)."""
    return (torch.arange(count) + 0.5) / count


def _direction(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], dim=1)
