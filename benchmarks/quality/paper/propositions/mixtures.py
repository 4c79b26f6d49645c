"""Mixtures of Gaussians on the line, diffused, and their divergence by quadrature."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs import GaussianMixturePrior, VPSchedule

__all__ = ["BEHAVIOR", "SCHEDULE", "TIMES", "Mixture", "dirac", "divergence", "scales"]

SCHEDULE = VPSchedule()
TIMES = (0.02, 0.98)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians on the line: weights, means and standard deviations, each (components,)."""

    weights: Tensor
    means: Tensor
    stds: Tensor

    @classmethod
    def of(cls, *parameters: tuple[float, ...]) -> "Mixture":
        """Returns a mixture from numbers."""
        return cls(*(torch.tensor(p, dtype=torch.float64) for p in parameters))

    def log_density(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """Returns the log-density of the diffused mixture, differentiable in its parameters."""
        variance = alpha**2 * self.stds.square() + sigma**2
        energy = (x_t[:, None] - alpha * self.means).square() / variance
        each = -0.5 * (energy + torch.log(2 * torch.pi * variance))
        return torch.logsumexp(torch.log(self.weights) + each, dim=1)

    @property
    def mean(self) -> float:
        """Of the whole mixture."""
        return (self.weights @ self.means).item()

    @property
    def std(self) -> float:
        """Of the whole mixture."""
        second = self.weights @ (self.means.square() + self.stds.square())
        return math.sqrt(second.item() - self.mean**2)

    def prior(self) -> GaussianMixturePrior:
        """Returns the optimal diffusion model."""
        covariances = self.stds.square()[:, None, None]
        return GaussianMixturePrior(self.weights, self.means[:, None], covariances, SCHEDULE)


BEHAVIOR = Mixture.of((0.6, 0.4), (-1.0, 1.2), (0.35, 0.25))


def dirac(parameters: Tensor) -> Mixture:
    """One action."""
    return Mixture(torch.ones(1).double(), parameters[:1], torch.zeros(1).double())


def scales(t: float) -> tuple[float, float]:
    """Returns alpha and sigma."""
    alpha, sigma = SCHEDULE(torch.tensor(t, dtype=torch.float64))
    return alpha.item(), sigma.item()


def divergence(policy: Mixture, behavior: Mixture, t: float) -> Tensor:
    """Returns KL[policy_t || behavior_t] in nats, differentiable in the policy.

    By the trapezoidal rule on a grid six steps to the narrowest standard deviation.
    """
    alpha, sigma = scales(t)
    with torch.no_grad():
        stds = torch.sqrt(alpha**2 * policy.stds.square() + sigma**2)
        step = stds.amin().item() / 6
        low = (alpha * policy.means - 9 * stds).amin().item()
        high = (alpha * policy.means + 9 * stds).amax().item()
        x_t = torch.arange(low, high, step, dtype=torch.float64)
    log_policy = policy.log_density(x_t, alpha, sigma)
    difference = log_policy - behavior.log_density(x_t, alpha, sigma)
    return (log_policy.exp() * difference).sum() * step
