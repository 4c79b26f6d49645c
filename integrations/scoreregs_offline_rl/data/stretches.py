"""Each row with all that follows it in its trajectory, as one long step: discounted returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs_offline_rl.data.transitions import Batch, Transitions

__all__ = ["FirstRows", "Stretches", "discounted_returns", "stretches"]


@dataclass(frozen=True, eq=False)
class Stretches(Batch):
    """Rows of n steps each: r is what they give together, s' and terminal are those of the last.

    A target is r + later * discount * V(s'), and r alone where terminal.

    Attributes:
        later: discount^(n - 1), shape (batch,), float32; 1 for a single step.
    """

    later: Tensor


@dataclass(frozen=True, eq=False)
class FirstRows:
    """What a stage works on in its first steps in place of the data's rows.

    Attributes:
        steps: how many, at least 1.
        rows: in the order of the data's, (N, ...).
    """

    steps: int
    rows: Stretches


def stretches(data: Transitions, discount: float) -> Stretches:
    r"""Returns each row with all that follows it, up to a terminal row or its trajectory's end.

    $$ r_t' = \sum_{k<n} \mathrm{discount}^k\, r_{t+k}, \qquad s_t' = s_{t+n} $$

    with n the steps from row t to the terminal one, or to the last that is kept of a trajectory
    that was cut, whose $s_{t+n}$ says what the rest is worth. Rows left out in the middle count as
    not there.

    Args:
        data: scaled, as a critic sees it.
        discount: of a step, in [0, 1).

    Example:
        >>> data = Transitions.from_arrays(
        ...     observations=[[0.0], [1.0], [2.0], [3.0]],
        ...     actions=[[0.5]] * 4,
        ...     rewards=[1.0, 2.0, 4.0, 8.0],
        ...     terminals=[0, 1, 0, 0],
        ...     timeouts=[0, 0, 0, 1],
        ...     next_observations=[[1.0], [9.0], [3.0], [4.0]],
        ... )
        >>> found = stretches(data, 0.5)
        >>> found.rewards.tolist(), found.next_observations.flatten().tolist()
        ([2.0, 2.0, 8.0, 8.0], [9.0, 9.0, 4.0, 4.0])
        >>> found.later.tolist(), found.terminals.tolist()
        ([0.5, 1.0, 0.5, 1.0], [True, True, False, False])
    """
    row = torch.arange(len(data), device=data.rewards.device)
    stops = (data.ends | data.terminals).nonzero().flatten()
    last = stops[torch.searchsorted(stops, row)]
    return Stretches(
        observations=data.observations,
        actions=data.actions,
        rewards=discounted_returns(data, discount).to(data.rewards.dtype),
        next_observations=data.next_observations[last],
        terminals=data.terminals[last],
        later=(discount ** (last - row).double()).to(data.rewards.dtype),
    )


def discounted_returns(data: Transitions, discount: float) -> Tensor:
    """Returns the discounted sum of rewards from each row on, (N,), float64.

    It ends with a terminal row, after which nothing counts, and with the row's trajectory.

    Args:
        data: rewards in any unit.
        discount: of a step, in [0, 1].
    """
    rewards, stops = data.rewards.double().tolist(), (data.ends | data.terminals).tolist()
    found, following = [0.0] * len(rewards), 0.0
    for row in range(len(rewards) - 1, -1, -1):
        following = rewards[row] + (0.0 if stops[row] else discount * following)
        found[row] = following
    return torch.tensor(found, dtype=torch.float64, device=data.rewards.device)
