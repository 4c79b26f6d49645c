"""Plug-ins that remember, one for each of several stacked policies.

The rows of a stacked objective are draws first, then members, then the batch. Each member's plug-in
sees its own rows alone, as it would by itself; what all remember is stacked under the names of one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.baselines import Baseline
from scoreregs.betas import Beta
from scoreregs.draws import Draw
from scoreregs.schedules import NoiseLevel
from scoreregs.times import AdaptiveTimes, QuantileTimes
from scoreregs.trees import map_tensors

__all__ = ["AdaptiveTimesOfMembers", "BaselineOfMembers", "BetaOfMembers"]


class _OfMembers(nn.Module):
    """Stacks the buffers of several modules of one class."""

    def __init__(self, members: Sequence[Any]) -> None:
        super().__init__()
        # In a tuple they are no submodules: their buffers are rows of ours.
        self._members = tuple(members)
        kept = self._members[0].state_dict()
        for name, _ in self._members[0].named_buffers():
            stacked = torch.stack([member.get_buffer(name) for member in self._members])
            self.register_buffer(name, stacked, persistent=name in kept)

    def linked(self) -> tuple[Any, ...]:
        """Returns the members, whose buffers are rows of the stacked ones."""
        for name, stacked in self.named_buffers():
            for member, own in zip(self._members, stacked, strict=True):
                member._buffers[name] = own
        return self._members

    def split(self, rows: Tensor, draws: int) -> list[Tensor]:
        """Returns each member's rows of (draws * members * batch, ...)."""
        parts = rows.unflatten(0, (draws, len(self._members), -1)).unbind(1)
        return [part.flatten(0, 1) for part in parts]

    def join(self, parts: Sequence[Tensor], draws: int) -> Tensor:
        """Returns rows in the order of the objective, out of each member's."""
        return torch.stack([p.unflatten(0, (draws, -1)) for p in parts], dim=1).flatten(0, 2)


class BaselineOfMembers(_OfMembers, Baseline):
    """A baseline that remembers, for each member.

    Args:
        members: modules of one class.
    """

    @override
    def remainder(self, draw: Draw, log_weight: Tensor) -> Tensor | None:
        weights = self.split(log_weight, draw.draws)
        triples = zip(self.linked(), self._parts(draw), weights, strict=True)
        found = [baseline.remainder(part, weight) for baseline, part, weight in triples]
        return None if found[0] is None else self.join(found, draw.draws)

    @override
    def observe(self, draw: Draw) -> None:
        for baseline, part in zip(self.linked(), self._parts(draw), strict=True):
            baseline.observe(part)

    def _parts(self, draw: Draw) -> list[Draw]:
        count, rows = len(self._members), torch.arange(len(draw.x), device=draw.x.device)
        own = self.split(rows, draw.draws)
        return [_rows_of(draw, own[member]) for member in range(count)]


class AdaptiveTimesOfMembers(_OfMembers, QuantileTimes):
    """`AdaptiveTimes` of each member.

    Args:
        members: of one range and one distribution of points.
        draws: of the objective.
    """

    def __init__(self, members: Sequence[AdaptiveTimes], draws: int) -> None:
        _OfMembers.__init__(self, members)
        QuantileTimes.__init__(self, members[0].points)
        self.low, self.high = members[0].low, members[0].high
        self._draws = draws

    @override
    def quantile(self, u: Tensor) -> Tensor:
        parts = u.unflatten(1, (len(self._members), -1)).unbind(1)
        pairs = zip(self.linked(), parts, strict=True)
        return torch.cat([times.quantile(part) for times, part in pairs], dim=1)

    def weight(self, level: NoiseLevel) -> Tensor:
        """Returns the weight of each row, by its member's density."""
        members, draws = self.linked(), self._draws
        if len(level.t) % (len(members) * draws):
            # The ends of the range, which an objective looks at before there are rows.
            return members[0].weight(level)
        columns = (level.t, level.alpha, level.sigma, level.log_snr)
        own = zip(*(self.split(column, draws) for column in columns), strict=True)
        levels = zip(members, own, strict=True)
        return self.join([times.weight(NoiseLevel(*its)) for times, its in levels], draws)

    @override
    def observe(self, t: Tensor, residual: Tensor) -> None:
        rows = self.split(t, self._draws), self.split(residual, self._draws)
        for times, its_t, its_residual in zip(self.linked(), *rows, strict=True):
            times.observe(its_t, its_residual)


class BetaOfMembers(_OfMembers, Beta):
    """A temperature that learns, for each member.

    Args:
        members: modules of one class.
    """

    needs_error = True

    @override
    def forward(self, device: torch.device) -> Tensor:
        self.to(device)
        return torch.cat([beta(device) for beta in self.linked()])

    @override
    def observe(self, error: Tensor, data_error: Tensor | None) -> None:
        errors = self.split(error, 1)
        of_data = [None] * len(errors) if data_error is None else self.split(data_error, 1)
        for beta, its_error, its_data_error in zip(self.linked(), errors, of_data, strict=True):
            beta.observe(its_error, its_data_error)


def _rows_of(draw: Draw, rows: Tensor) -> Draw:
    level = draw.level
    columns = (level.t, level.alpha, level.sigma, level.log_snr)
    return replace(
        draw,
        x=draw.x[rows],
        condition=map_tensors(lambda leaf: leaf[rows], draw.condition),
        noise=draw.noise[rows],
        x_t=draw.x_t[rows],
        level=NoiseLevel(*(column[rows] for column in columns)),
        output=draw.output[rows],
        target=draw.target[rows],
    )
