"""A fixed sample of rows, times and noise that stages are judged on, without a simulator.

The error of an action a under a prior is E_t |eps_hat(alpha_t a + sigma_t eps | s, t) - eps|^2 per
dimension, with t spread evenly over [0.02, 0.98].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scoreregs import ScorePrior
from scoreregs_offline_rl.data.transitions import Batch, Transitions
from scoreregs_offline_rl.randoms import WeightedSampler, generator_for
from scoreregs_offline_rl.stages.gaussian_actions import GaussianActions

__all__ = ["Probe", "Probes", "held_rows"]

_TIMES = (0.02, 0.98)
_DRAWS = 8
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Probe:
    """Rows with times and noise, the same at every check.

    Attributes:
        batch: the rows, scaled.
        t: times, (draws, rows).
        noise: (draws, rows, a).
    """

    batch: Batch
    t: Tensor
    noise: Tensor

    @classmethod
    def draw(
        cls, data: Transitions, rows: Tensor, seed: int, weights: Tensor | None = None
    ) -> Probe:
        """Returns at most 512 of some rows of the data, on its device.

        Args:
            data: scaled.
            rows: those to draw from, int64, on the CPU.
            seed: of the draws.
            weights: how often each row of the data is drawn, (N,), on the CPU; None: all alike.
        """
        generator = generator_for(seed, "probe", 0)
        if weights is None:
            chosen = rows[torch.randperm(len(rows), generator=generator)[:_ROWS]]
        else:
            chosen = _drawn(rows, weights, min(len(rows), _ROWS), seed)
        offsets = torch.rand(1, len(chosen), generator=generator)
        low, high = _TIMES
        t = low + (high - low) * (torch.arange(_DRAWS)[:, None] + offsets) / _DRAWS
        noise = torch.randn(*t.shape, data.actions.shape[1], generator=generator)
        device = data.actions.device
        return cls(data.select(chosen.to(device)), t.to(device), noise.to(device))

    @torch.no_grad()
    def errors(self, prior: ScorePrior, actions: Tensor) -> Tensor:
        """Returns the error of actions (rows, a) at the probe's observations, (rows,)."""
        draws = len(self.t)
        t, noise = self.t.flatten(), self.noise.flatten(0, 1)
        alpha, sigma = prior.schedule(t.double())
        alpha, sigma = (level.to(actions.dtype)[:, None] for level in (alpha, sigma))
        x_t = alpha * actions.repeat(draws, 1) + sigma * noise
        predicted = prior.epsilon(x_t, t, self.batch.observations.repeat(draws, 1))
        return (predicted - noise).square().mean(-1).reshape(draws, -1).mean(0)


class Probes:
    """What the stages of one seed are judged on.

    Args:
        data: scaled transitions, on the device of the models.
        seed: of the run.
        held_out: rows that the prior's stage keeps out of its training, at most a twentieth.
        weights: how often that stage draws each row, (N,): it is judged on such rows; None: all
            alike.
    """

    def __init__(
        self, data: Transitions, seed: int, held_out: int, weights: Tensor | None = None
    ) -> None:
        self._data, self._seed = data, seed
        self._weights = None if weights is None else weights.cpu()
        self.trained_rows, held = held_rows(len(data), held_out, seed)
        """The rows that a stage with held-out rows is trained on."""
        self.held = Probe.draw(data, held, seed, self._weights)
        self.trained = Probe.draw(data, self.trained_rows, seed, self._weights)

    @cached_property
    def largest_reward(self) -> float:
        """Max |r| of the data, as the critic sees it."""
        return float(self._data.rewards.abs().max())

    @cached_property
    def gaussian(self) -> GaussianActions:
        """The best Gaussian of the rows of training."""
        data, rows = self._data, self.trained_rows
        if self._weights is not None:
            rows = _drawn(rows, self._weights, len(rows), self._seed)
        rows = rows.to(data.actions.device)
        return GaussianActions.fit(data.observations, data.actions, rows)


def _drawn(rows: Tensor, weights: Tensor, count: int, seed: int) -> Tensor:
    """Returns rows, drawn as often as their weights say."""
    return rows[WeightedSampler(weights[rows], count, seed=seed, purpose="probe")(0)]


def held_rows(rows: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Returns rows to train on, and at most `count` and a twentieth kept out; int64, on the CPU.

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
