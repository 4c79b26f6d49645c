"""The best Gaussian of actions given observations: what a behavior model is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs import NoiseSchedule, ScorePrior, VPSchedule

__all__ = ["GaussianActions"]


class GaussianActions(ScorePrior):
    r"""The best Gaussian $\mathcal N(W s + b, \Sigma)$ of actions, as a prior.

    $$ \hat\epsilon = \sigma (\alpha^2 \Sigma + \sigma^2)^{-1} (x_t - \alpha (W s + b)) $$

    Args:
        weight: W and b, (o + 1, a), float64.
        axes: eigenvectors of Sigma, (a, a), float64.
        variances: its eigenvalues, (a,), float64.
        schedule: under which it is asked.
    """

    def __init__(
        self, weight: Tensor, axes: Tensor, variances: Tensor, schedule: NoiseSchedule | None = None
    ) -> None:
        super().__init__(VPSchedule() if schedule is None else schedule, "epsilon")
        self.weight, self.axes, self.variances = weight, axes, variances

    @classmethod
    def fit(cls, observations: Tensor, actions: Tensor, rows: Tensor) -> GaussianActions:
        """Returns that of least squares over some rows; a feature that says nothing gets no weight.

        Args:
            observations: (N, o).
            actions: (N, a).
            rows: those to fit, int64, on the same device.
        """
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

    def under(self, schedule: NoiseSchedule) -> GaussianActions:
        """Returns the same Gaussian under another schedule."""
        return GaussianActions(self.weight, self.axes, self.variances, schedule)

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        alpha, sigma = (level[:, None] for level in self.schedule(t))
        centred = x_t.double() - alpha * (_with_one(condition) @ self.weight)
        shrunk = centred @ self.axes * sigma / (alpha.square() * self.variances + sigma.square())
        return (shrunk @ self.axes.T).to(x_t.dtype)


def _with_one(observations: Tensor) -> Tensor:
    """Returns observations in float64 with a column of ones."""
    ones = observations.new_ones(len(observations), 1)
    return torch.cat([observations, ones], dim=1).double()
