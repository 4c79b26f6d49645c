"""What a gradient step works on: rows of the data and what is random, from (seed, stage, step)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs_offline_rl.data.packed import PackedRows
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.randoms import NEWEST_DRAWS, EpochSampler, StepDraws, WeightedSampler
from scoreregs_offline_rl.stages.stage import Randoms, Stage

__all__ = ["Inputs", "Members", "SeedInputs", "StackedInputs"]


@dataclass(frozen=True, eq=False)
class Members:
    """The members of a stacked stage.

    Attributes:
        labels: what tells their metrics apart, seeds first.
        seeds: of rows and randoms; each is that of equally many members.
        rows: those of the data that each seed trains on, int64; None: all.
    """

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Tensor, ...] | None = None

    @property
    def each(self) -> int:
        """How many members share a seed."""
        return len(self.labels) // len(self.seeds)


class Inputs(ABC):
    """Rows and randoms of one step after the other, of this process.

    What a step reads follows from what lies on the device: a count of steps, which it moves on, the
    order of the epoch and the generators. The host says where to begin, and has the next epoch's
    order and the next block's generator ready; for `UNROLLED` steps from a multiple of it on, once.

    Args:
        packed: the rows.
        draws: where randoms come from, those of rows that are drawn too.
        samplers: those whose rows follow from the count.

    Attributes:
        draws: as given.
        batch: returns rows by their columns.
    """

    def __init__(
        self,
        packed: PackedRows,
        draws: tuple[StepDraws[Any], ...],
        samplers: tuple[EpochSampler, ...],
    ) -> None:
        self.packed, self.draws, self.samplers = packed, draws, samplers
        self.batch = packed.batch
        self._count = torch.zeros(1, dtype=torch.int64, device=packed.device)
        self._following = 0

    def __call__(self, step: int) -> tuple[Tensor, Randoms]:
        """Returns rows, as `PackedRows` selects them, and randoms of a step, counted from 0."""
        self.seek(step)
        return self.take()

    def seek(self, step: int) -> None:
        """Makes a step the one that is taken next."""
        if step != self._following:
            self._count.fill_(step)
        for source in (*self.samplers, *self.draws):
            source.seek(step)
        self._following = step

    def take(self) -> tuple[Tensor, Randoms]:
        """Returns rows and randoms of the next step."""
        taken = self.packed.select(self.indices(self._count)), self.draw()
        self._count += 1
        self._following += 1
        return taken

    def stand_at(self, step: int) -> None:
        """Takes note of where steps went of which the host was not told; -1: nobody knows."""
        for part in self.draws:
            part.following = step
        self._following = step

    @abstractmethod
    def indices(self, count: Tensor) -> Tensor:
        """Returns which rows the next step works on, as `PackedRows` counts them.

        Args:
            count: of the step, (1,), int64, on the device.
        """

    @abstractmethod
    def draw(self) -> Randoms:
        """Returns the randoms of the next step."""


@final
class SeedInputs(Inputs):
    """The inputs of one seed: every process draws the global batch and takes its own part.

    Their shape is (batch, ...).

    Args:
        stage: draws the randoms.
        data: on the training's device; packed where several seeds share it.
        batch_size: rows of the global batch.
        seed: of rows and randoms.
        part: this process's rows of the global batch.
        rows: those of the data to train on, int64; None: all.
        weights: how often each row of the data is drawn, (N,); None: all alike, each once an epoch.
        version: of the draws.
    """

    def __init__(
        self,
        stage: Stage,
        data: Transitions | PackedRows,
        batch_size: int,
        *,
        seed: int,
        part: slice,
        rows: Tensor | None = None,
        weights: Tensor | None = None,
        version: int = NEWEST_DRAWS,
    ) -> None:
        if not isinstance(data, PackedRows):
            data = PackedRows(data, stage.first_rows(data))
        device, purpose = data.device, stage.stream()
        self._rows = None if rows is None else rows.to(device)
        self._part = part
        if weights is None:
            count = len(data) if rows is None else len(rows)
            sampler = EpochSampler(count, batch_size, seed=seed, purpose=purpose, device=device)
            self._sampled, samplers, points = sampler.at, (sampler,), ()
        else:
            own = weights if self._rows is None else weights[self._rows]
            weighted = WeightedSampler(own, batch_size, seed=seed, purpose=purpose, version=version)
            self._sampled, samplers = lambda count: weighted.draw(), ()
            points = (weighted.points,)
        self._draws = StepDraws(partial(stage.draw, batch_size), seed, purpose, device, version)
        super().__init__(data, (self._draws, *points), samplers)

    @override
    def indices(self, count: Tensor) -> Tensor:
        indices = self._sampled(count)[self._part]
        return self.packed.at(count, indices if self._rows is None else self._rows[indices])

    @override
    def draw(self) -> Randoms:
        return {name: values[self._part] for name, values in self._draws.draw().items()}


@final
class StackedInputs(Inputs):
    """The inputs of several seeds, stacked: what each of them would have alone.

    Their shape is (members, batch, ...).

    Args:
        seeds: those of each seed, of one data set.
        each: how many members share those of a seed.
    """

    def __init__(self, seeds: Sequence[SeedInputs], each: int = 1) -> None:
        self._seeds, self._each = tuple(seeds), each
        draws = tuple(part for inputs in seeds for part in inputs.draws)
        samplers = tuple(sampler for inputs in seeds for sampler in inputs.samplers)
        super().__init__(seeds[0].packed, draws, samplers)

    @override
    def indices(self, count: Tensor) -> Tensor:
        return self._stack([inputs.indices(count) for inputs in self._seeds])

    @override
    def draw(self) -> Randoms:
        randoms = [inputs.draw() for inputs in self._seeds]
        return {name: self._stack([its[name] for its in randoms]) for name in randoms[0]}

    def _stack(self, rows: Sequence[Tensor]) -> Tensor:
        stacked = torch.stack(list(rows))
        return stacked if self._each == 1 else stacked.repeat_interleave(self._each, 0)
