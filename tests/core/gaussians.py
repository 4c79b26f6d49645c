"""A conditional Gaussian N(c, S^2 I) under a schedule, its formulas written out in plain torch."""

import torch
from torch import Tensor

from scoreregs import GaussianMixturePrior, NoiseSchedule, VPSchedule

S2 = 0.3


def conditional_gaussian(schedule: NoiseSchedule | None = None) -> GaussianMixturePrior:
    """The library's prior of N(c, S2 I) given c, (batch, d)."""

    def mixture(c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, d = c.shape
        return (
            torch.ones(batch, 1),
            c[:, None],
            S2 * torch.eye(d, dtype=c.dtype).expand(batch, 1, d, d),
        )

    return GaussianMixturePrior.conditional(mixture, schedule or VPSchedule())


def scales(t: Tensor, schedule: NoiseSchedule | None = None) -> tuple[Tensor, Tensor]:
    """alpha and sigma, (batch, 1); of VP by the paper's formula."""
    if schedule is not None:
        alpha, sigma = schedule(t)
        return alpha[:, None], sigma[:, None]
    alpha = torch.exp(-(t**2) * (20 - 0.1) / 4 - t * 0.1 / 2)[:, None]
    return alpha, torch.sqrt(1 - alpha**2)


def epsilon(x_t: Tensor, c: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noise that the diffused N(c, S2 I) predicts, minus sigma times its score."""
    return sigma * (x_t - alpha * c) / (alpha**2 * S2 + sigma**2)


def denoised(x_t: Tensor, c: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The posterior mean of x under N(c, S2 I)."""
    return (alpha * S2 * x_t + sigma**2 * c) / (alpha**2 * S2 + sigma**2)
