"""Dirac policies without a state: the actions themselves are what is optimised."""

import torch
from torch import Tensor

from scoreregs import ScorePrior, ScoreRegularizedObjective
from scoreregs.options import ValueFunction

__all__ = ["as_eq_10", "climb"]

SMALLEST_TIME = 0.02


def as_eq_10(value: ValueFunction, prior: ScorePrior) -> ScoreRegularizedObjective:
    """Returns the objective of Eq. 10: the score at t = 0.02, the least time of the paper.

    Called with noise of zero it is deterministic: the score is that at alpha x.
    """
    return ScoreRegularizedObjective.from_value(
        value,
        prior,
        times=SMALLEST_TIME,
        weighting="alpha_over_sigma",
        baseline="none",
        reduction="sum",
    )


def climb(
    objective: ScoreRegularizedObjective,
    start: Tensor,
    condition: Tensor | None,
    *,
    beta: Tensor,
    steps: int,
    learning_rate: float = 0.05,
    noise: Tensor | None = None,
) -> Tensor:
    """Returns actions after Adam with a cosine decay to zero.

    Args:
        objective: what is maximised, its loss summed over the batch.
        start: where the actions start, (batch, *event).
        condition: passed to the objective.
        beta: the temperature of each action, (batch,); infinite leaves the prior out.
        steps: of Adam.
        learning_rate: at the start.
        noise: in place of drawn noise, see the objective.
    """
    x = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=learning_rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(x, condition, noise=noise, beta=beta).loss.backward()
        optimizer.step()
        decay.step()
    return x.detach()
