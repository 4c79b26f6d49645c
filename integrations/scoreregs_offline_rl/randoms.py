"""Randomness without state.

Everything random about a step follows from (seed, stage, step). A resumed run therefore needs the
step number and nothing else, and every one of several processes can draw the global batch and take
its own part.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor

from scoreregs_offline_rl.errors import RunError

__all__ = [
    "BLOCK",
    "NEWEST_DRAWS",
    "UNROLLED",
    "EpochSampler",
    "StepDraws",
    "WeightedSampler",
    "check_batches",
    "derived_seed",
    "generator_for",
    "process_slice",
    "seeded",
]

T = TypeVar("T")

UNROLLED = 8
"""Steps that may be taken in a row with no word from the host; they divide a block."""
BLOCK = 32
"""Steps that share a generator, in the second version of the draws."""
NEWEST_DRAWS = 2
"""The version of the draws of new runs; the first had a generator for each step."""


def generator_for(
    seed: int, purpose: str, step: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Returns a fresh generator whose seed is a hash of (seed, purpose, step).

    Example:
        >>> first, again = (generator_for(0, "behavior", 7) for _ in range(2))
        >>> bool((torch.rand(3, generator=first) == torch.rand(3, generator=again)).all())
        True
    """
    return torch.Generator(device).manual_seed(_hashed(seed, purpose, step))


def derived_seed(seed: int, index: int) -> int:
    """Returns the seed of one of several members of a seed; the first one's is the seed itself.

    Example:
        >>> derived_seed(3, 0), derived_seed(3, 1) == derived_seed(3, 1)
        (3, True)
    """
    return seed if index == 0 else _hashed(seed, "member", index)


def _hashed(seed: int, purpose: str, step: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Seeds the CPU's global generator within the block and restores its state after it.

    For what takes no generator: the initial weights of `torch.nn`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_hashed(seed, purpose, 0))
        yield


def process_slice(batch_size: int, process_index: int, num_processes: int) -> slice:
    """Returns the rows of a global batch that one of several processes works on.

    Raises:
        RunError: the batch does not divide evenly, so that the mean of the processes' gradients
            would not be the gradient of the global batch.

    Example:
        >>> process_slice(256, 1, 2)
        slice(128, 256, None)
    """
    if batch_size % num_processes:
        raise RunError(
            f"got a batch size of {batch_size} for {num_processes} processes, expected a multiple "
            f"of the number of processes: change the batch size or the launch"
        )
    part = batch_size // num_processes
    return slice(process_index * part, (process_index + 1) * part)


def check_batches(batches: Mapping[str, tuple[int, int]]) -> None:
    """Raises `RunError`, of all at once, unless each stage's batch can be filled from its rows.

    Args:
        batches: batch size and rows by stage.
    """
    short = {name: pair for name, pair in batches.items() if not 1 <= pair[0] <= pair[1]}
    if short:
        batch_size, rows = next(iter(short.values()))
        options = " ".join(f"--{name}.batch-size {rows}" for name, (_, rows) in short.items())
        raise RunError(
            f"got a batch size of {batch_size} for {rows} rows of data, expected at least 1 "
            f"and at most {rows}: set {options} or less"
        )


class EpochSampler:
    """Batches of row indices, without replacement within an epoch.

    Batch k is a slice of its epoch's permutation, which depends on (seed, purpose, epoch) alone;
    the rows that do not fill a batch are left out of that epoch. The orders of the epochs that are
    next lie on the device, where a count of steps says which batch it is.

    Args:
        rows: number of rows to draw from.
        batch_size: rows of a global batch.
        seed: seed of the run.
        purpose: keeps apart the permutations of different stages.
        device: where the indices live.

    Raises:
        RunError: there are fewer rows than a batch holds.

    Example:
        >>> sampler = EpochSampler(5, 2, seed=0, purpose="critic")
        >>> len(set(sampler(0).tolist() + sampler(1).tolist()))
        4
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        *,
        seed: int,
        purpose: str,
        device: torch.device | str = "cpu",
    ) -> None:
        check_batches({purpose: (batch_size, rows)})
        self._rows, self._batch_size = rows, batch_size
        self._seed, self._purpose, self._device = seed, purpose, device
        self._each = rows // batch_size
        # Of each epoch that `UNROLLED` steps in a row may touch, one after the other.
        self._epochs = [-1] * (1 + -(-(UNROLLED - 1) // self._each))
        size = len(self._epochs) * self._each, batch_size
        self._batches = torch.zeros(size, dtype=torch.int64, device=device)

    def __call__(self, step: int) -> Tensor:
        """Returns the row indices (batch_size,) of a step, counted from 0."""
        self.seek(step)
        return self._batches[step % len(self._batches)].clone()

    def seek(self, step: int) -> None:
        """Has the orders ready of `UNROLLED` steps from one on."""
        for epoch in range(step // self._each, (step + UNROLLED - 1) // self._each + 1):
            place = epoch % len(self._epochs)
            if epoch != self._epochs[place]:
                generator = generator_for(self._seed, f"{self._purpose}/order", epoch, self._device)
                order = torch.randperm(self._rows, generator=generator, device=self._device)
                batches = order[: self._each * self._batch_size].view(self._each, -1)
                self._batches[place * self._each : (place + 1) * self._each] = batches
                self._epochs[place] = epoch

    def at(self, count: Tensor) -> Tensor:
        """Returns the row indices (batch_size,) of the step that is counted on the device.

        Args:
            count: (1,), int64, less than `UNROLLED` more than the step that was sought.
        """
        return self._batches.index_select(0, count % len(self._batches))[0]


class StepDraws(Generic[T]):
    """What is drawn anew in each step: one draw after the other from the generator of a block.

    A step in the middle of a block draws those before it first, so that it needs no history.

    Args:
        draw: draws from a generator on `device`.
        seed: of the run.
        purpose: keeps apart the draws of different stages.
        device: of the generators.
        version: 1 has a block of one step, as runs did before there were blocks.

    Example:
        >>> draws = StepDraws(lambda g: float(torch.rand((), generator=g)), 0, "critic")
        >>> through = [draws(step) for step in range(40)]
        >>> draws(35) == through[35], len(set(through))
        (True, 40)
    """

    def __init__(
        self,
        draw: Callable[[torch.Generator], T],
        seed: int,
        purpose: str,
        device: torch.device | str = "cpu",
        version: int = NEWEST_DRAWS,
    ) -> None:
        self._draw, self._seed, self._purpose = draw, seed, purpose
        self._block = 1 if version == 1 else BLOCK
        self.generator = torch.Generator(device)
        """What it draws from."""
        self.following = -1
        """The step that is drawn next, where that is known."""

    def __call__(self, step: int) -> T:
        """Returns what a step draws, counted from 0."""
        self.seek(step)
        return self.draw()

    def seek(self, step: int) -> None:
        """Makes what a step draws the next to be drawn."""
        block, place = divmod(step, self._block)
        if step != self.following or place == 0:
            self.generator.manual_seed(_hashed(self._seed, self._purpose, block))
            for _ in range(place):
                self._draw(self.generator)
        self.following = step

    def draw(self) -> T:
        """Returns what the next step draws, of the same block."""
        self.following += 1
        return self._draw(self.generator)


class WeightedSampler:
    """Batches of row indices, with replacement, each row as often as its weight says.

    Args:
        weights: of the rows, (N,), at least 0 and not all 0.
        batch_size: rows of a global batch.
        seed: of the run.
        purpose: keeps apart the rows of different stages.
        version: of the draws.

    Example:
        >>> sampler = WeightedSampler(torch.eye(4)[1], 4, seed=0, purpose="critic")
        >>> sampler(0).tolist()
        [1, 1, 1, 1]
    """

    def __init__(
        self,
        weights: Tensor,
        batch_size: int,
        *,
        seed: int,
        purpose: str,
        version: int = NEWEST_DRAWS,
    ) -> None:
        check_batches({purpose: (batch_size, len(weights))})
        below = weights.double().cumsum(0)
        self._below = below / below[-1]
        self._batch_size = batch_size
        device = weights.device
        self.points = StepDraws(self._draw, seed, f"{purpose}/weighted", device, version)
        """What it draws from: in [0, 1)."""

    def __call__(self, step: int) -> Tensor:
        """Returns the row indices (batch_size,) of a step, counted from 0."""
        self.points.seek(step)
        return self.draw()

    def draw(self) -> Tensor:
        """Returns the row indices (batch_size,) of the next step, of the same block."""
        rows = torch.searchsorted(self._below, self.points.draw(), right=True)
        return rows.clamp_(max=len(self._below) - 1)

    def _draw(self, generator: torch.Generator) -> Tensor:
        size, device = self._batch_size, generator.device
        return torch.rand(size, generator=generator, dtype=torch.float64, device=device)
