"""What a gradient step works on: rows of the data and what is random, from (seed, stage, step)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, final

import torch
from torch import Tensor

from scoreregs_offline_rl.data.transitions import Batch, Transitions
from scoreregs_offline_rl.stages.stage import Randoms, Stage
from scoreregs_offline_rl.training.randoms import EpochSampler, generator_for

__all__ = ["Inputs", "Members", "SeedInputs", "StackedInputs"]


@dataclass(frozen=True, eq=False)
class Members:
    """The members of a stacked stage.

    Attributes:
        labels: What tells their metrics apart.
        seeds: Of rows and randoms; several members may share one, as the stage has it.
        rows: Those of the data that each seed trains on, int64; None: all.
    """

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Tensor, ...] | None = None


class Inputs(Protocol):
    """Gives the batch and the randoms of a step, counted from 0."""

    def __call__(self, step: int) -> tuple[Batch, Randoms]:
        """Batch and randoms of this process."""
        ...


@final
class SeedInputs:
    """The inputs of one seed: every process draws the global batch and takes its own part.

    Args:
        stage: Draws the randoms.
        data: On the training's device.
        batch_size: Rows of the global batch.
        seed: Of rows and randoms.
        part: This process's rows of the global batch.
        rows: Those of the data to train on, int64; None: all.
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
            count, batch_size, seed=seed, purpose=stage.name, device=self._device
        )
        self._stage, self._data, self._seed = stage, data, seed
        self._batch_size, self._part = batch_size, part

    def __call__(self, step: int) -> tuple[Batch, Randoms]:
        """Batch (batch, ...) and randoms (batch, ...)."""
        generator = generator_for(self._seed, self._stage.name, step, self._device)
        randoms = self._stage.draw(self._batch_size, generator)
        indices = self._sampler(step)[self._part]
        batch = self._data.select(indices if self._rows is None else self._rows[indices])
        return batch, {name: values[self._part] for name, values in randoms.items()}


@final
class StackedInputs:
    """The inputs of several seeds, stacked: what each of them would have alone.

    Args:
        seeds: Those of each seed.
    """

    def __init__(self, seeds: Sequence[Inputs]) -> None:
        self._seeds = tuple(seeds)

    def __call__(self, step: int) -> tuple[Batch, Randoms]:
        """Batch (seeds, batch, ...) and randoms (seeds, batch, ...)."""
        batches, randoms = zip(*(inputs(step) for inputs in self._seeds), strict=True)
        columns = {
            field.name: torch.stack([getattr(batch, field.name) for batch in batches])
            for field in fields(Batch)
        }
        names = randoms[0]
        return Batch(**columns), {name: torch.stack([r[name] for r in randoms]) for name in names}
