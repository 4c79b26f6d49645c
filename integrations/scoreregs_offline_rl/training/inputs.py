"""What a gradient step works on: rows of the data and what is random, from (seed, stage, step)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, final

import torch
from torch import Tensor

from scoreregs_offline_rl.data.transitions import Batch, Transitions
from scoreregs_offline_rl.randoms import EpochSampler, generator_for
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


class Inputs(Protocol):
    """Gives the batch and the randoms of a step, counted from 0."""

    def __call__(self, step: int) -> tuple[Batch, Randoms]:
        """Returns batch and randoms of this process."""
        ...


@final
class SeedInputs:
    """The inputs of one seed: every process draws the global batch and takes its own part.

    Args:
        stage: draws the randoms.
        data: on the training's device.
        batch_size: rows of the global batch.
        seed: of rows and randoms.
        part: this process's rows of the global batch.
        rows: those of the data to train on, int64; None: all.
    """

    def __init__(
        self,
        stage: Stage,
        data: Transitions,
        batch_size: int,
        *,
        seed: int,
        part: slice,
        rows: Tensor | None = None,
    ) -> None:
        self._device = data.actions.device
        self._rows = None if rows is None else rows.to(self._device)
        count = len(data) if rows is None else len(rows)
        self._sampler = EpochSampler(
            count, batch_size, seed=seed, purpose=stage.stream(), device=self._device
        )
        self._stage, self._data, self._seed = stage, data, seed
        self._batch_size, self._part = batch_size, part

    def __call__(self, step: int) -> tuple[Batch, Randoms]:
        """Returns batch and randoms, (batch, ...)."""
        generator = generator_for(self._seed, self._stage.stream(), step, self._device)
        randoms = self._stage.draw(self._batch_size, generator)
        indices = self._sampler(step)[self._part]
        batch = self._data.select(indices if self._rows is None else self._rows[indices])
        return batch, {name: values[self._part] for name, values in randoms.items()}


@final
class StackedInputs:
    """The inputs of several seeds, stacked: what each of them would have alone.

    Args:
        seeds: those of each seed.
        each: how many members share those of a seed.
    """

    def __init__(self, seeds: Sequence[Inputs], each: int = 1) -> None:
        self._seeds, self._each = tuple(seeds), each

    def __call__(self, step: int) -> tuple[Batch, Randoms]:
        """Returns batch and randoms, (members, batch, ...)."""
        batches, randoms = zip(*(inputs(step) for inputs in self._seeds), strict=True)
        columns = {
            field.name: self._stack([getattr(batch, field.name) for batch in batches])
            for field in fields(Batch)
        }
        names = randoms[0]
        return Batch(**columns), {name: self._stack([r[name] for r in randoms]) for name in names}

    def _stack(self, rows: Sequence[Tensor]) -> Tensor:
        stacked = torch.stack(list(rows))
        return stacked if self._each == 1 else stacked.repeat_interleave(self._each, 0)
