r"""What can be said of policies where there is no environment: figures from the data alone.

For a row (s, b) of the data and a policy's action a, all scaled:

$$ \text{distance} = \big( \tfrac1d \textstyle\sum_i (a_i - b_i)^2 \big)^{1/2}, \qquad
   \text{prior error} = \mathbb E_{t, \epsilon}\,
   \tfrac1d \| \hat\epsilon(\alpha_t a + \sigma_t \epsilon \mid s, t) - \epsilon \|^2, \qquad
   \text{value} = Q(s, a) $$

None is a score: near the data is not good where the data is not, and the value is the critic's
promise, which a policy is trained to raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scoreregs import ScorePrior
from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.transitions import Batch, Transitions
from scoreregs_offline_rl.evaluation.statistics import Interval, clustered_interval

__all__ = ["FIGURES", "Estimate", "OfflineComparison", "compare_offline"]

FIGURES = ("distance", "prior error", "value")
"""What is told of each policy."""

NO_SCORE = (
    "These figures are no score: nothing was acted out. Distance and prior error say how near a "
    "policy stays to what was recorded, which is good only where the record is; value is what the "
    "critic promises, which a policy is trained to raise. Intervals: 95 %, over the rows' "
    "trajectories; they say nothing about other seeds."
)
"""What is said beneath every table of them."""

_DATA = "data"
_TIMES, _DRAWS, _ROWS = (0.02, 0.98), 8, 1024


@dataclass(frozen=True)
class Estimate:
    """A mean over rows of the data.

    Attributes:
        mean: the mean.
        interval: its bootstrap interval over trajectories; None where there is one trajectory.
    """

    mean: float
    interval: Interval | None


@named_calls
@dataclass(frozen=True)
class OfflineComparison:
    """Figures of several policies on the same rows, without an environment.

    Attributes:
        reference: the policy that the others are compared with.
        rows: how many rows of the data the figures are means over.
        trajectories: how many trajectories these are of.
        figures: each of `FIGURES`, by policy; the data's own actions are among them, as `data`.
        differences: the same less the reference's, row by row.
    """

    reference: str
    rows: int
    trajectories: int
    figures: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Estimate]]

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison as dictionaries that JSON can hold, with what it is not."""
        return asdict(self) | {"note": NO_SCORE}

    def table(self) -> str:
        """Returns a Markdown table, and beneath it why its figures are no score."""
        heads = [f"{name}{less}" for name in FIGURES for less in ("", f" less {self.reference}'s")]
        lines = [["", *heads]]
        for policy, its in self.figures.items():
            cells = [policy]
            for name in FIGURES:
                known = policy != self.reference
                difference = _cell(self.differences[policy][name]) if known else ""
                cells += [_cell(its[name]), difference]
            lines.append(cells)
        widths = [max(len(cells[column]) for cells in lines) for column in range(len(lines[0]))]
        lines.insert(1, ["-" * width for width in widths])
        rows = (
            " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            for cells in lines
        )
        basis = f"{self.rows} rows of {self.trajectories} trajectories."
        return "\n".join(f"| {row} |" for row in rows) + f"\n\n{basis} {NO_SCORE}"


def compare_offline(
    policies: Mapping[str, Callable[[Tensor], Tensor]],
    data: Transitions,
    prior: ScorePrior,
    value: Callable[[Tensor, Tensor], Tensor],
    *,
    reference: str,
    rows: Tensor | None = None,
    seed: int = 0,
) -> OfflineComparison:
    """Returns distance, prior error and value of policies and of the data's own actions.

    At most 1,024 rows are drawn, and with each eight noises at times spread evenly over [0.02,
    0.98], the same for every policy, so that differences are of the policies alone.

    Args:
        policies: by name, maps of scaled observations (n, o) to scaled actions (n, a).
        data: the scaled transitions, on the device of the models.
        prior: the behavior model of scaled actions given scaled observations.
        value: Q, from actions (n, a) and observations (n, o) to values (n,).
        reference: the policy to compare with, cloning as a rule.
        rows: which of the data to draw from, int64: those that training has not seen, where some
            were kept; None: all.
        seed: of rows, times and noise.

    Raises:
        ArgumentError: where the reference is no policy, a policy is called `data`, no row is
            given, or actions or values have another shape or are not finite.

    Example:
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> s, a = rng.normal(size=(40, 2)), rng.normal(size=(40, 1))
        >>> cuts = np.arange(40) % 10 == 9
        >>> data = Transitions.from_arrays(s, a, np.zeros(40), np.zeros(40, bool), cuts, s)
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> found = compare_offline(
        ...     {"cloning": lambda s: 0 * s[:, :1], "ours": lambda s: 0 * s[:, :1] + 0.5},
        ...     data,
        ...     prior,
        ...     lambda a, s: a[:, 0],
        ...     reference="cloning",
        ... )
        >>> round(found.differences["ours"]["value"].mean, 6), found.trajectories
        (0.5, 4)
    """
    if reference not in policies or _DATA in policies:
        raise ArgumentError(
            f"got the policies {', '.join(policies)} and the reference {reference!r}, expected one "
            f"of them, and none called {_DATA!r}, which is what the data's own actions are called"
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = _draw_rows(data, rows, generator)
    batch = data.select(chosen)
    judge = _Judge.draw(batch, prior, value, generator)
    measured = {_DATA: judge(_DATA, batch.actions)}
    for name, policy in policies.items():
        with torch.no_grad():
            measured[name] = judge(name, policy(batch.observations))
    trajectory = (
        torch.cat([data.ends.new_zeros(1), data.ends[:-1]]).cumsum(0)[chosen].numpy(force=True)
    )
    return OfflineComparison(
        reference=reference,
        rows=len(chosen),
        trajectories=len(np.unique(trajectory)),
        figures={policy: _estimates(its, trajectory) for policy, its in measured.items()},
        differences={
            policy: _estimates(
                {name: its[name] - measured[reference][name] for name in FIGURES}, trajectory
            )
            for policy, its in measured.items()
        },
    )


@dataclass(frozen=True, eq=False)
class _Judge:
    """Gives the figures of actions at fixed rows, times and noises."""

    batch: Batch
    prior: ScorePrior
    value: Callable[[Tensor, Tensor], Tensor]
    t: Tensor
    noise: Tensor

    @classmethod
    def draw(
        cls,
        batch: Batch,
        prior: ScorePrior,
        value: Callable[[Tensor, Tensor], Tensor],
        generator: torch.Generator,
    ) -> _Judge:
        rows, size = batch.actions.shape
        low, high = _TIMES
        offsets = torch.rand(1, rows, generator=generator, dtype=torch.float64)
        t = low + (high - low) * (torch.arange(_DRAWS)[:, None] + offsets) / _DRAWS
        noise = torch.randn(_DRAWS * rows, size, generator=generator)
        device = batch.actions.device
        return cls(batch, prior, value, t.flatten().to(device), noise.to(device))

    @torch.no_grad()
    def __call__(self, name: str, actions: Tensor) -> dict[str, np.ndarray]:
        """Each of `FIGURES` for actions (rows, a), row by row."""
        shape = self.batch.actions.shape
        if actions.shape != shape:
            raise ArgumentError(
                f"got actions of shape {tuple(actions.shape)} from {name}, expected {tuple(shape)}"
            )
        distance = (actions - self.batch.actions).square().mean(-1).sqrt()
        value = self.value(actions, self.batch.observations)
        if value.shape != shape[:1]:
            raise ArgumentError(
                f"got values of shape {tuple(value.shape)}, expected {tuple(shape[:1])}: give one "
                "number for each row"
            )
        found = zip(FIGURES, (distance, self._prior_error(actions), value), strict=True)
        figures = {figure: its.double().numpy(force=True) for figure, its in found}
        for figure, its in figures.items():
            if not np.isfinite(its).all():
                raise ArgumentError(
                    f"got a {figure} of {name} that is not finite, expected numbers: see that its "
                    "actions are, and the models'"
                )
        return figures

    def _prior_error(self, actions: Tensor) -> Tensor:
        repeats = len(self.t) // len(actions)
        alpha, sigma = (level.to(actions.dtype)[:, None] for level in self.prior.schedule(self.t))
        x_t = alpha * actions.repeat(repeats, 1) + sigma * self.noise
        condition = self.batch.observations.repeat(repeats, 1)
        error = (self.prior.epsilon(x_t, self.t, condition) - self.noise).square().mean(-1)
        return error.reshape(repeats, -1).mean(0)


def _draw_rows(data: Transitions, rows: Tensor | None, generator: torch.Generator) -> Tensor:
    available = torch.arange(len(data)) if rows is None else rows.cpu()
    if len(available) == 0:
        raise ArgumentError("got no rows, expected at least one: leave rows out for all of them")
    drawn = available[torch.randperm(len(available), generator=generator)[:_ROWS]]
    return drawn.to(data.actions.device)


def _estimates(values: Mapping[str, np.ndarray], trajectory: np.ndarray) -> dict[str, Estimate]:
    several = len(np.unique(trajectory)) > 1
    return {
        name: Estimate(float(its.mean()), clustered_interval(its, trajectory) if several else None)
        for name, its in values.items()
    }


def _cell(estimate: Estimate) -> str:
    if estimate.interval is None:
        return f"{estimate.mean:.3g}"
    low, high = estimate.interval.low, estimate.interval.high
    return f"{estimate.mean:.3g} [{low:.3g}, {high:.3g}]"
