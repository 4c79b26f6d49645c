"""A fixed sample of rows, times and noise that denoisers of actions are compared on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from scoreregs import VPSchedule
from scoreregs_offline_rl.data.transitions import Batch, Transitions
from scoreregs_offline_rl.training.randoms import generator_for

__all__ = ["Epsilon", "GaussianActions", "Probe", "held_rows"]

_TIMES = (0.02, 0.98)
_DRAWS = 8
_ROWS = 512


class Epsilon(Protocol):
    """A prediction of noise, (n, a)."""

    def __call__(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """From noisy actions (n, a), times (n,) and observations (n, o)."""
        ...


@dataclass(frozen=True, eq=False)
class Probe:
    """Rows with times and noise, the same at every check.

    Attributes:
        batch: The rows, scaled.
        t: Times, shape (draws, rows).
        noise: Shape (draws, rows, a).
    """

    batch: Batch
    t: Tensor
    noise: Tensor

    @classmethod
    def draw(cls, data: Transitions, rows: Tensor, seed: int) -> Probe:
        """At most 512 of some rows of the data, on its device."""
        generator = generator_for(seed, "probe", 0)
        chosen = rows[torch.randperm(len(rows), generator=generator)[:_ROWS]]
        offsets = torch.rand(1, len(chosen), generator=generator)
        low, high = _TIMES
        t = low + (high - low) * (torch.arange(_DRAWS)[:, None] + offsets) / _DRAWS
        noise = torch.randn(*t.shape, data.actions.shape[1], generator=generator)
        device = data.actions.device
        return cls(data.select(chosen.to(device)), t.to(device), noise.to(device))

    @torch.no_grad()
    def errors(self, epsilon: Epsilon, actions: Tensor) -> Tensor:
        """The error of actions (rows, a) at the probe's observations, shape (rows,)."""
        draws = len(self.t)
        t, noise = self.t.flatten(), self.noise.flatten(0, 1)
        alpha, sigma = VPSchedule()(t.double())
        alpha, sigma = (level.to(actions.dtype)[:, None] for level in (alpha, sigma))
        x_t = alpha * actions.repeat(draws, 1) + sigma * noise
        predicted = epsilon(x_t, t, self.batch.observations.repeat(draws, 1))
        return (predicted - noise).square().mean(-1).reshape(draws, -1).mean(0)


@dataclass(frozen=True, eq=False)
class GaussianActions:
    """The best Gaussian N(W s + b, Sigma) of actions, as a denoiser.

        eps_hat = sigma (alpha^2 Sigma + sigma^2)^-1 (x_t - alpha (W s + b))

    Attributes:
        weight: W and b, shape (o + 1, a), float64.
        axes: Eigenvectors of Sigma, shape (a, a), float64.
        variances: Its eigenvalues, shape (a,), float64.
    """

    weight: Tensor
    axes: Tensor
    variances: Tensor

    @classmethod
    def fit(cls, observations: Tensor, actions: Tensor, rows: Tensor) -> GaussianActions:
        """Least squares over some rows; a feature that says nothing gets no weight."""
        size = observations.shape[1] + 1 + actions.shape[1]
        moments = torch.zeros(size, size, dtype=torch.float64, device=actions.device)
        for part in rows.split(100_000):
            joined = torch.cat([_with_one(observations[part]), actions[part].double()], dim=1)
            moments += joined.T @ joined / len(rows)
        inputs = observations.shape[1] + 1
        covariance, cross = moments[:inputs, :inputs], moments[:inputs, inputs:]
        weight = torch.linalg.pinv(covariance, hermitian=True) @ cross
        variances, axes = torch.linalg.eigh(moments[inputs:, inputs:] - cross.T @ weight)
        return cls(weight, axes, variances.clamp_min(1e-12))

    def __call__(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The noise that this Gaussian expects, shape (n, a)."""
        alpha, sigma = (level[:, None] for level in VPSchedule()(t.double()))
        centred = x_t.double() - alpha * (_with_one(condition) @ self.weight)
        shrunk = centred @ self.axes * sigma / (alpha.square() * self.variances + sigma.square())
        return (shrunk @ self.axes.T).to(x_t.dtype)


def held_rows(rows: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to train on, and at most `count` and a twentieth that are kept out; int64, on the CPU.

    With none kept out, every row is both.

    Example:
        >>> trained, held = held_rows(100, 1024, seed=0)
        >>> len(trained), len(held), len(held_rows(100, 0, seed=0)[1])
        (95, 5, 100)
    """
    count = min(count, rows // 20)
    if count == 0:
        return torch.arange(rows), torch.arange(rows)
    order = torch.randperm(rows, generator=generator_for(seed, "held-out", 0))
    return order[count:].sort().values, order[:count].sort().values


def _with_one(observations: Tensor) -> Tensor:
    """Observations in float64 with a column of ones."""
    ones = observations.new_ones(len(observations), 1)
    return torch.cat([observations, ones], dim=1).double()
