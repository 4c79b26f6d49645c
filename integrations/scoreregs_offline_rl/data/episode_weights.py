"""Rows drawn more often from episodes of a higher return."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.transitions import Transitions

__all__ = ["effective_share", "row_weights"]

# Of the logarithm of the temperature; the last halving is far below float64's rounding.
_HALVINGS = 60


def row_weights(data: Transitions, share: float) -> Tensor:
    r"""Returns how often each row is drawn, (N,), float64, of mean 1.

    $$ w_e \propto \exp(R_e / T) $$

    for the rows of an episode e of return R_e, with the temperature T at which the effective share
    of the rows, `effective_share`, is the one that is asked for. One share is as strong on every
    data set: where all episodes are alike it prefers one to a like one.

    Args:
        data: rewards in any unit; T is relative to the returns.
        share: in (0, 1]; 1 draws all rows alike.

    Raises:
        ArgumentError: the share is out of its range.

    References:
        Hong et al., Harnessing Mixed Offline Reinforcement Learning Datasets via Trajectory
        Weighting, ICLR 2023.

    Example:
        >>> from scoreregs_offline_rl.data.pendulum import load_pendulum_swingup
        >>> weights = row_weights(load_pendulum_swingup(), 0.25)
        >>> round(effective_share(weights), 4), round(float(weights.mean()), 4)
        (0.25, 1.0)
    """
    if not 0 < share <= 1:
        raise ArgumentError(f"got a share of {share!r}, expected 0 < share <= 1, such as 0.25")
    episode = data.ends.long().cumsum(0) - data.ends.long()
    returns = torch.zeros(int(episode[-1]) + 1, dtype=torch.float64, device=episode.device)
    returns.index_add_(0, episode, data.rewards.double())
    below = returns - returns.max()
    extent = -float(below.min())
    if share == 1 or extent == 0:
        return torch.ones(len(data), dtype=torch.float64, device=episode.device)
    low, high = math.log(1e-6), math.log(1e6)

    def weights_at(log_temperature: float) -> Tensor:
        return (below / (extent * math.exp(log_temperature)))[episode].exp()

    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_even = effective_share(weights_at(middle)) > share
        low, high = (low, middle) if too_even else (middle, high)
    weights = weights_at(high)
    return weights / weights.mean()


def effective_share(weights: Tensor) -> float:
    r"""Returns $(\sum w)^2 / (N \sum w^2)$: the share of N rows that would tell as much.

    Example:
        >>> effective_share(torch.tensor([1.0, 1.0, 0.0, 0.0]))
        0.5
    """
    return float(weights.sum().square() / (len(weights) * weights.square().sum()))
