"""Actions of every policy, by temperature."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from benchmarks.quality.paper.climb import as_eq_10, climb
from benchmarks.quality.paper.figure_2.bandit import (
    DIFFUSION,
    EQ_10,
    EQ_15,
    EQ_15_LOCAL,
    GAUSSIAN,
    value,
)
from benchmarks.quality.paper.models import SCHEDULE, Fit, fit
from scoreregs import ScorePrior, ScoreRegularizedObjective
from scoreregs.probability_flow import sample
from scoreregs.times import LogSNRTimes

__all__ = ["Actions", "forward_policies", "reverse_policies", "weighted_gaussian"]

# By policy and temperature, each (count, 2).
Actions = dict[str, dict[float, Tensor]]

LOG_SNR = (1.0, 5.0)


def weighted_gaussian(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean (2,) and covariance (2, 2), the maximum of the weighted log-likelihood."""
    weights = weights / weights.sum()
    mean = weights @ x
    offset = x - mean
    return mean, (weights[:, None] * offset).T @ offset


def forward_policies(
    data: Tensor, betas: Sequence[float], training: Fit, samples: int, generator: Generator
) -> tuple[Actions, ScorePrior]:
    """Returns samples of both policies under forward KL, and the model of the behavior.

    Args:
        data: of the behavior, (count, 2).
        betas: the temperatures.
        training: of the behavior model and the weighted ones, side by side.
        samples: of each policy.
        generator: of choices, training and samples.
    """
    gaussian, chosen = {}, []
    for beta in betas:
        weights = torch.softmax(beta * value(data), 0)
        mean, covariance = weighted_gaussian(data, weights)
        noise = torch.randn(samples, 2, generator=generator)
        gaussian[beta] = mean + noise @ torch.linalg.cholesky(covariance).T
        rows = torch.multinomial(weights, len(data), replacement=True, generator=generator)
        chosen.append(data[rows])
    network = fit([data, *chosen], training, generator)
    shape = (samples, len(betas) + 1, 2)
    found = sample(network.prior(), shape, tolerance=1e-4, generator=generator)
    diffusion = {beta: found[:, i + 1] for i, beta in enumerate(betas)}
    return {GAUSSIAN: gaussian, DIFFUSION: diffusion}, network.prior_of(0)


def reverse_policies(
    prior: ScorePrior, betas: Sequence[float], starts: int, steps: int, generator: Generator
) -> Actions:
    """Returns the actions of the Dirac policies, all temperatures as one batch.

    Args:
        prior: the model of the behavior.
        betas: the temperatures.
        starts: of each policy.
        steps: of each policy.
        generator: of starts, times and noise.
    """
    papers = ScoreRegularizedObjective.from_value(
        value, prior, draws=4, reduction="sum", generator=generator
    )
    local = ScoreRegularizedObjective.from_value(
        value,
        prior,
        times=LogSNRTimes(SCHEDULE, *LOG_SNR, points="low_discrepancy"),
        weighting="uniform",
        draws=4,
        reduction="sum",
        generator=generator,
    )
    beta = torch.tensor(betas).repeat_interleave(starts)
    start = 2 * torch.randn(starts, 2, generator=generator)
    start = start.repeat(len(betas), 1)
    found = {}
    for method, objective in (
        (EQ_10, as_eq_10(value, prior)),
        (EQ_15, papers),
        (EQ_15_LOCAL, local),
    ):
        noise = torch.zeros_like(start) if method == EQ_10 else None
        x = climb(objective, start, None, beta=beta, steps=steps, noise=noise)
        found[method] = dict(zip(betas, x.split(starts), strict=True))
    return found
