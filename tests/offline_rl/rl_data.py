"""Small random transitions that the stages' tests share."""

import torch

from scoreregs import NetworkPrior, VPSchedule
from scoreregs_offline_rl.data.transitions import Batch, Transitions

OBSERVATION, ACTION = 4, 2


def noise_prior(network) -> NetworkPrior:
    """A network as a behavior model is by default: noise prediction under VP."""
    return NetworkPrior(network, VPSchedule(), "epsilon")


def make_transitions(rows: int = 60, seed: int = 0) -> Transitions:
    """Trajectories of ten rows, terminal and cut ones in turn."""
    generator = torch.Generator().manual_seed(seed)
    last = torch.arange(rows) % 10 == 9
    terminal = last & (torch.arange(rows) % 20 == 9)
    return Transitions.from_arrays(
        observations=torch.randn(rows, OBSERVATION, generator=generator).numpy(),
        actions=(2 * torch.rand(rows, ACTION, generator=generator) - 1).numpy(),
        rewards=torch.randn(rows, generator=generator).numpy(),
        terminals=terminal.numpy(),
        timeouts=(last & ~terminal).numpy(),
        next_observations=torch.randn(rows, OBSERVATION, generator=generator).numpy(),
    )


def as_double(batch: Batch) -> Batch:
    """The batch with floating tensors in float64."""
    return Batch(
        batch.observations.double(),
        batch.actions.double(),
        batch.rewards.double(),
        batch.next_observations.double(),
        batch.terminals,
    )


def rows_of(batch: Batch, rows: slice) -> Batch:
    """Some rows of a batch."""
    return Batch(
        batch.observations[rows],
        batch.actions[rows],
        batch.rewards[rows],
        batch.next_observations[rows],
        batch.terminals[rows],
    )
