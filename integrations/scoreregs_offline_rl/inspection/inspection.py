"""What a data set holds, and what in it may go wrong, before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.environments.making import action_bounds
from scoreregs_offline_rl.inspection.findings import find_oddities
from scoreregs_offline_rl.tasks import normalized_score, reference_returns, scored_by_success

__all__ = ["Distribution", "Features", "Inspection", "inspect_data"]

_BINS = 24


@dataclass(frozen=True)
class Distribution:
    """Minimum, 5 %, quartiles, 95 %, maximum and mean of some numbers."""

    quantiles: tuple[float, ...]
    mean: float

    @classmethod
    def of(cls, values: Tensor) -> Distribution:
        """Returns that of a vector.

        Args:
            values: shape (N,), at least one.
        """
        ordered = values.double().sort().values
        at = torch.tensor([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0], dtype=torch.float64)
        places = (at * (len(ordered) - 1)).round().long()
        return cls(tuple(ordered[places].tolist()), float(ordered.mean()))


@dataclass(frozen=True, eq=False)
class Features:
    """Columns of observations or actions; tensors of shape (features,), float64."""

    minimum: Tensor
    mean: Tensor
    maximum: Tensor
    std: Tensor

    @classmethod
    def of(cls, columns: Tensor) -> Features:
        """Returns those of a matrix.

        Args:
            columns: shape (rows, features).
        """
        exact = columns.double()
        return cls(exact.amin(0), exact.mean(0), exact.amax(0), exact.std(0, correction=0))

    @property
    def constant(self) -> list[int]:
        """Returns the indices of columns of one value."""
        return (self.minimum == self.maximum).nonzero().flatten().tolist()


@named_calls
@dataclass(frozen=True, eq=False)
class Inspection:
    """A summary of a data set.

    Attributes:
        source: the file or name.
        environment: identifier of the environment, if known.
        rows: transitions that training sees.
        recorded: rows of the recording, cut ones without a next observation included.
        trajectories: how many.
        terminal: how many of them have a terminal row.
        incomplete: how many the end of the data cut, 0 or 1.
        terminal_rows: rows without bootstrap.
        returns: of the complete trajectories.
        lengths: of all trajectories.
        rewards: of rows.
        scores: the normalised score of the mean and of the best return, where there are reference
            returns; the share of successful trajectories where success is the score.
        actions: in the environment's units.
        action_low: the environment's bound, shape (a,), where it is known; else the data's.
        action_high: likewise.
        bounds_known: whether the two are the environment's.
        action_counts: rows by action and bin between the two bounds, shape (a, bins).
        at_bounds: share of rows within 1 % of a bound, shape (a,).
        observations: as recorded.
        findings: what may go wrong, with a remedy, a sentence each.
    """

    source: str
    environment: str | None
    rows: int
    recorded: int
    trajectories: int
    terminal: int
    incomplete: int
    terminal_rows: int
    returns: Distribution
    lengths: Distribution
    rewards: Distribution
    scores: tuple[float, float] | None
    actions: Features
    action_low: Tensor
    action_high: Tensor
    bounds_known: bool
    action_counts: Tensor
    at_bounds: Tensor
    observations: Features
    findings: tuple[str, ...]


@named_calls
def inspect_data(data: Transitions) -> Inspection:
    """Returns a summary of a data set that is not scaled.

    Args:
        data: the transitions.

    Example:
        >>> from scoreregs_offline_rl.data.pendulum import load_pendulum_swingup
        >>> inspection = inspect_data(load_pendulum_swingup())
        >>> inspection.trajectories, inspection.lengths.mean, inspection.findings
        (450, 200.0, ())
    """
    returns, name = data.returns().double(), data.environment
    actions, observations = Features.of(data.actions), Features.of(data.observations)
    bounds = _bounds(data)
    low, high = bounds or (actions.minimum, actions.maximum)
    place = (data.actions.double() - low) / (high - low).clamp_min(1e-12)
    return Inspection(
        source=data.source,
        environment=name,
        rows=len(data),
        recorded=int(data.trajectory_lengths.sum()),
        trajectories=len(data.trajectory_lengths),
        terminal=int(data.trajectory_terminal.sum()),
        incomplete=int((~data.trajectory_complete).sum()),
        terminal_rows=int(data.terminals.sum()),
        returns=Distribution.of(returns),
        lengths=Distribution.of(data.trajectory_lengths),
        rewards=Distribution.of(data.rewards),
        scores=_scores(data, returns),
        actions=actions,
        action_low=low,
        action_high=high,
        bounds_known=bounds is not None,
        action_counts=torch.stack(
            [torch.histc(column, _BINS, 0.0, 1.0) for column in place.clamp(0, 1).T]
        ).long(),
        at_bounds=((place < 0.01) | (place > 0.99)).double().mean(0),
        observations=observations,
        findings=find_oddities(data, bounds),
    )


def _scores(data: Transitions, returns: Tensor) -> tuple[float, float] | None:
    """Score of the mean and of the best trajectory, where the task has one."""
    name = data.environment
    if name is None:
        return None
    if scored_by_success(name):
        won = data.trajectory_terminal.double()
        return 100 * float(won.mean()), 100 * float(won.max())
    if reference_returns(name) is None:
        return None
    both = float(returns.mean()), float(returns.max())
    return normalized_score(both[0], name), normalized_score(both[1], name)


def _bounds(data: Transitions) -> tuple[Tensor, Tensor] | None:
    """Lowest and highest action of the data's environment, if it is at hand and fits."""
    if data.environment is None:
        return None
    try:
        low, high = (torch.from_numpy(b).double() for b in action_bounds(data.environment))
    except (ArgumentError, MissingDependencyError):
        return None
    return (low, high) if low.shape == data.actions.shape[1:] else None
