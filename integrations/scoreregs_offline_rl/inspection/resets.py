"""Marks that a vector environment which resets by itself leaves in a log."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreregs_offline_rl.data.transitions import Transitions

__all__ = ["find_resets"]

# A step so many times as long as 95 % of the others is a reset.
_LEAP = 1.5


def find_resets(data: Transitions) -> str | None:
    """Returns what is wrong where episodes run into one another, and the layout to read it with.

    Such an environment (Gymnasium's vector environments, those of Gym) begins the next episode by
    itself. Written down call by call, either the next observation of a cut row is the first of the
    next episode (`same_step`), or the row after an end only resets: its action was never taken, its
    reward is 0, and its next observation is of another episode (`next_step`).

    Args:
        data: not scaled.
    """
    ends = data.ends[:-1].nonzero().flatten()
    if not len(ends):
        return None
    leaps = _leaps(data)
    after = ends + 1
    after = after[~data.ends[after] | (after + 1 == len(data))]
    idle = after[(data.rewards[after] == 0) & (leaps[after] > _LEAP)]
    if len(after) and 2 * len(idle) > len(after):
        return (
            f"{len(idle)} rows that follow upon an end, first {int(idle[0])}, have no reward and "
            "leap to another episode: a vector environment that resets in the call after an end "
            "wrote them, and their actions were never taken; read the log with --loading.layout "
            "next_step"
        )
    cut = ends[~data.terminals[ends]]
    same = (data.next_observations[cut] == data.observations[cut + 1]).all(1)
    joined = cut[same & (leaps[cut] > _LEAP)]
    if len(joined) and 2 * len(joined) > len(cut):
        return (
            f"{len(joined)} cut rows, first {int(joined[0])}, are followed by the first "
            "observation of the next episode: a vector environment that resets within the call "
            "of an end wrote them; read the log with --loading.layout same_step"
        )
    return None


def _leaps(data: Transitions) -> Tensor:
    """The length of each row's step, in that which 95 % of steps within an episode keep below."""
    std = data.observations.double().std(0, correction=0)
    moving = std > 0
    steps = (data.next_observations - data.observations).double()[:, moving] / std[moving]
    lengths = steps.norm(dim=1)
    within = ~data.ends
    within[1:] &= ~data.ends[:-1]
    usual = lengths[within].sort().values
    if not len(usual):
        return torch.zeros_like(lengths)
    return lengths / usual[int(0.95 * (len(usual) - 1))].clamp_min(1e-12)
