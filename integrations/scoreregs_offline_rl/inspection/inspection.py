"""What a data set holds, and what in it may go wrong, before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.environments.making import action_bounds
from scoreregs_offline_rl.tasks import normalized_score, reference_returns

__all__ = ["Distribution", "Features", "Inspection", "inspect_data"]

_BINS = 24


@dataclass(frozen=True)
class Distribution:
    """Minimum, 5 %, quartiles, 95 %, maximum and mean of some numbers."""

    quantiles: tuple[float, ...]
    mean: float

    @classmethod
    def of(cls, values: Tensor) -> Distribution:
        """That of a vector."""
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
        """Those of a matrix, shape (rows, features)."""
        exact = columns.double()
        return cls(exact.amin(0), exact.mean(0), exact.amax(0), exact.std(0, correction=0))

    @property
    def constant(self) -> list[int]:
        """Indices of columns of one value."""
        return (self.minimum == self.maximum).nonzero().flatten().tolist()


@dataclass(frozen=True, eq=False)
class Inspection:
    """A summary of a data set.

    Attributes:
        source: The file or name.
        environment: Identifier of the environment, if known.
        rows: Transitions that training sees.
        recorded: Rows of the recording, cut ones without a next observation included.
        trajectories: How many.
        terminal: How many of them have a terminal row.
        incomplete: How many the end of the data cut, 0 or 1.
        terminal_rows: Rows without bootstrap.
        returns: Of the complete trajectories.
        lengths: Of all trajectories.
        rewards: Of rows.
        scores: D4RL's normalised score of the mean and of the best return, where there are
            reference returns.
        actions: In the environment's units.
        action_low: The environment's bound, shape (a,), where it is known; else the data's.
        action_high: Likewise.
        bounds_known: Whether the two are the environment's.
        action_counts: Rows by action and bin between the two bounds, shape (a, bins).
        at_bounds: Share of rows within 1 % of a bound, shape (a,).
        observations: As recorded.
        findings: What may go wrong, with a remedy, a sentence each.
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


def inspect_data(data: Transitions) -> Inspection:
    """Summarise a data set that is not scaled.

    Example:
        >>> from scoreregs_offline_rl.data.pendulum import load_pendulum_swingup
        >>> inspection = inspect_data(load_pendulum_swingup())
        >>> inspection.trajectories, inspection.lengths.mean, inspection.findings
        (450, 200.0, ())
    """
    returns, name = data.returns().double(), data.environment
    scores = None
    if name is not None and reference_returns(name) is not None:
        both = float(returns.mean()), float(returns.max())
        scores = normalized_score(both[0], name), normalized_score(both[1], name)
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
        scores=scores,
        actions=actions,
        action_low=low,
        action_high=high,
        bounds_known=bounds is not None,
        action_counts=torch.stack(
            [torch.histc(column, _BINS, 0.0, 1.0) for column in place.clamp(0, 1).T]
        ).long(),
        at_bounds=((place < 0.01) | (place > 0.99)).double().mean(0),
        observations=observations,
        findings=tuple(_findings(data, actions, observations, bounds)),
    )


def _bounds(data: Transitions) -> tuple[Tensor, Tensor] | None:
    """Lowest and highest action of the data's environment, if it is at hand and fits."""
    if data.environment is None:
        return None
    try:
        low, high = (torch.from_numpy(b).double() for b in action_bounds(data.environment))
    except (ArgumentError, MissingDependencyError):
        return None
    return (low, high) if low.shape == data.actions.shape[1:] else None


def _findings(
    data: Transitions,
    actions: Features,
    observations: Features,
    bounds: tuple[Tensor, Tensor] | None,
) -> list[str]:
    found = []
    if constant := observations.constant:
        found.append(
            f"{len(constant)} of {len(observations.mean)} observations never change "
            f"({_some(constant)}): a policy learns nothing from them"
        )
    if constant := actions.constant:
        found.append(
            f"{len(constant)} of {len(actions.mean)} actions never change ({_some(constant)}): "
            "see that they are recorded, or leave them out"
        )
    if bounds is not None:
        beyond = torch.maximum(bounds[0] - data.actions, data.actions - bounds[1]).amax(1)
        if rows := int((beyond > 0).sum()):
            found.append(
                f"{rows} actions lie beyond the bounds of {data.environment}, by up to "
                f"{float(beyond.max()):.3g}: training clips roundings and refuses what is further "
                "out"
            )
    returns = data.returns().double()
    if float(returns.max() - returns.min()) <= 1e-6 * float(returns.abs().max()):
        found.append("all returns are the same: give the reward scaling `none` (--rewards none)")
    if runs := int((data.terminals[1:] & data.terminals[:-1]).sum()):
        found.append(
            f"{runs} terminal rows follow upon a terminal row: if episodes go on there, as "
            "AntMaze's do, say so (terminals_end false)"
        )
    inside = ~data.ends[:-1]
    jump = (data.next_observations[:-1] - data.observations[1:]).abs()
    jumps = inside & (jump > 1e-3 * observations.std + 1e-5).any(1)
    if rows := int(jumps.sum()):
        found.append(
            f"in {rows} rows, first {int(jumps.int().argmax())}, the next observation is not that "
            "of the next row: a trajectory may end there without a flag"
        )
    return found


def _some(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:8]))
    return shown if len(indices) <= 8 else f"{shown}, ..."
