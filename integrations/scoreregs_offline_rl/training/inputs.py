"""What a gradient step works on: rows of the data and what is random, from (seed, stage, step)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, final

import torch
from torch import Tensor

from scoreregs_offline_rl.data.packed import PackedRows
from scoreregs_offline_rl.data.transitions import Batch, Transitions
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


class Inputs(Protocol):
    """Gives the rows and the randoms of a step, counted from 0.

    Attributes:
        draws: where randoms come from.
    """

    draws: tuple[StepDraws[Randoms], ...]

    def __call__(self, step: int) -> tuple[Tensor, Randoms]:
        """Returns rows, as `PackedRows` selects them, and randoms of this process."""
        ...

    def indices(self, step: int) -> Tensor:
        """Returns which rows a step works on, as `PackedRows` counts them."""
        ...

    def rows(self, indices: Tensor) -> Tensor:
        """Returns them."""
        ...

    def batch(self, rows: Tensor) -> Batch:
        """Returns rows by their columns."""
        ...

    def seek(self, step: int) -> None:
        """Makes the randoms of a step the next to be drawn."""
        ...

    def draw(self) -> Randoms:
        """Returns the randoms of the next step, of the same block."""
        ...


@final
class SeedInputs:
    """The inputs of one seed: every process draws the global batch and takes its own part.

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
        self.packed = data
        device, purpose = self.packed.device, stage.stream()
        self._rows = None if rows is None else rows.to(device)
        count = len(self.packed) if rows is None else len(rows)
        if weights is None:
            self._sampler = EpochSampler(
                count, batch_size, seed=seed, purpose=purpose, device=device
            )
        else:
            own = weights if self._rows is None else weights[self._rows]
            self._sampler = WeightedSampler(
                own, batch_size, seed=seed, purpose=purpose, version=version
            )
        draw = partial(stage.draw, batch_size)
        self._draws = StepDraws(draw, seed, purpose, device, version)
        self.draws = (self._draws,)
        self.rows, self.batch, self.seek = self.packed.select, self.packed.batch, self._draws.seek
        self._part = part

    def __call__(self, step: int) -> tuple[Tensor, Randoms]:
        """Returns rows and randoms, (batch, ...)."""
        self.seek(step)
        return self.rows(self.indices(step)), self.draw()

    def indices(self, step: int) -> Tensor:
        """Returns the rows that a step works on, (batch,)."""
        indices = self._sampler(step)[self._part]
        return self.packed.at(step, indices if self._rows is None else self._rows[indices])

    def draw(self) -> Randoms:
        """Returns what the next step draws, (batch, ...)."""
        return {name: values[self._part] for name, values in self._draws.draw().items()}


@final
class StackedInputs:
    """The inputs of several seeds, stacked: what each of them would have alone.

    Args:
        seeds: those of each seed, of one data set.
        each: how many members share those of a seed.
    """

    def __init__(self, seeds: Sequence[SeedInputs], each: int = 1) -> None:
        self._seeds, self._each = tuple(seeds), each
        self.draws = tuple(draws for inputs in seeds for draws in inputs.draws)
        self.rows, self.batch = seeds[0].rows, seeds[0].batch

    def __call__(self, step: int) -> tuple[Tensor, Randoms]:
        """Returns rows and randoms, (members, batch, ...)."""
        self.seek(step)
        return self.rows(self.indices(step)), self.draw()

    def indices(self, step: int) -> Tensor:
        """Returns the rows that a step works on, (members, batch)."""
        return self._stack([inputs.indices(step) for inputs in self._seeds])

    def seek(self, step: int) -> None:
        """Makes the randoms of a step the next to be drawn."""
        for inputs in self._seeds:
            inputs.seek(step)

    def draw(self) -> Randoms:
        """Returns what the next step draws, (members, batch, ...)."""
        randoms = [inputs.draw() for inputs in self._seeds]
        return {name: self._stack([its[name] for its in randoms]) for name in randoms[0]}

    def _stack(self, rows: Sequence[Tensor]) -> Tensor:
        stacked = torch.stack(list(rows))
        return stacked if self._each == 1 else stacked.repeat_interleave(self._each, 0)
