"""Proposition 2: the gradient of Eq. 16 by quadrature, beside that of Eq. 15."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.paper.propositions.mixtures import TIMES, Mixture, dirac, divergence, scales
from scoreregs import ScorePrior, ScoreRegularizedObjective
from scoreregs.baselines import BaselineLike

__all__ = [
    "WEIGHTINGS",
    "Weighting",
    "gradients_in_std",
    "regulariser_gradients",
    "variance_ratio",
]

Weighting = Literal["sigma2", "uniform", "alpha_over_sigma"]
WEIGHTINGS: dict[Weighting, Callable[[float, float], float]] = {
    "sigma2": lambda alpha, sigma: sigma**2,
    "uniform": lambda alpha, sigma: 1.0,
    "alpha_over_sigma": lambda alpha, sigma: alpha / sigma,
}


def regulariser_gradients(
    actions: Tensor,
    behavior: Mixture,
    prior: ScorePrior,
    weighting: Weighting,
    nodes: int,
    baseline: BaselineLike = "noise",
) -> tuple[Tensor, Tensor]:
    """Returns the gradient in a of the regulariser, (count,), from Eq. 16 and from Eq. 15.

    Eq. 16 differentiates the divergence by quadrature, without any prediction of noise; Eq. 15 is
    the mean of an objective's gradient over the nodes of time and noise.
    """
    moving = actions.double().clone().requires_grad_()
    times, shares = _gauss_legendre(nodes)
    total = torch.zeros((), dtype=torch.float64)
    for t, share in zip(times.tolist(), shares.tolist(), strict=True):
        alpha, sigma = scales(t)
        each = torch.stack([divergence(dirac(a[None]), behavior, t) for a in moving])
        total = total + share * WEIGHTINGS[weighting](alpha, sigma) * sigma / alpha * each.sum()
    (eq_16,) = torch.autograd.grad(total, moving)

    noise, noise_shares = _noise_nodes()
    objective = ScoreRegularizedObjective.from_value(
        None, prior, weighting=weighting, baseline=baseline, reduction="none"
    )
    share = (torch.from_numpy(shares)[:, None] * noise_shares).flatten()
    t = torch.from_numpy(times).repeat_interleave(len(noise))
    repeated = noise.repeat(len(times))[:, None]
    eq_15 = []
    for action in actions.double():
        x = action.expand(len(t), 1)
        eq_15.append(share @ objective(x, t=t, noise=repeated).gradient[:, 0])
    return eq_16.detach(), torch.stack(eq_15)


def gradients_in_std(stds: Tensor, behavior: Mixture, nodes: int) -> tuple[Tensor, Tensor]:
    """Returns the gradient of the regulariser in the std of a policy N(0, std^2), (count,).

    First of Eq. 16, then of Eq. 15 with a sampled action, a = std z: as if it were a Dirac policy.
    """
    times, shares = _gauss_legendre(nodes)
    moving = stds.double().clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for t, share in zip(times.tolist(), shares.tolist(), strict=True):
        alpha, sigma = scales(t)
        zero = torch.zeros(1, dtype=torch.float64)
        policies = [Mixture(torch.ones(1).double(), zero, s[None]) for s in moving]
        each = torch.stack([divergence(policy, behavior, t) for policy in policies])
        total = total + share * sigma**3 / alpha * each.sum()
    (eq_16,) = torch.autograd.grad(total, moving)

    noise, noise_shares = _noise_nodes(24)
    axes = torch.meshgrid(torch.from_numpy(times), noise, noise, indexing="ij")
    t, epsilon, z = (axis.flatten() for axis in axes)
    share = torch.einsum("i,j,k->ijk", torch.from_numpy(shares), noise_shares, noise_shares)
    objective = ScoreRegularizedObjective.from_value(None, behavior.prior(), reduction="none")
    eq_15 = [
        (share.flatten() * z)
        @ objective((std * z)[:, None], t=t, noise=epsilon[:, None]).gradient[:, 0]
        for std in stds.double()
    ]
    return eq_16.detach(), torch.stack(eq_15)


def variance_ratio(action: float, prior: ScorePrior, weighting: Weighting, nodes: int) -> float:
    """Returns the variance of one draw of Eq. 15 with the noise baseline over that without."""
    times, shares = _gauss_legendre(nodes)
    noise, noise_shares = _noise_nodes()
    t = torch.from_numpy(times).repeat_interleave(len(noise))
    share = (torch.from_numpy(shares)[:, None] * noise_shares).flatten()
    x = torch.full((len(t), 1), action, dtype=torch.float64)
    found = []
    baselines: tuple[BaselineLike, ...] = ("noise", "none")
    for baseline in baselines:
        objective = ScoreRegularizedObjective.from_value(
            None, prior, weighting=weighting, baseline=baseline
        )
        gradient = objective(x, t=t, noise=noise.repeat(len(times))[:, None]).gradient[:, 0]
        found.append((share @ gradient.square() - (share @ gradient).square()).item())
    return found[0] / found[1]


def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return TIMES[0] + (TIMES[1] - TIMES[0]) * (nodes + 1) / 2, weights / 2


def _noise_nodes(count: int = 80) -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
