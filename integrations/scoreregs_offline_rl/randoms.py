"""Randomness without state.

Everything random about a step follows from (seed, stage, step). A resumed run therefore needs the
step number and nothing else, and every one of several processes can draw the global batch and take
its own part.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from scoreregs_offline_rl.errors import RunError

__all__ = [
    "EpochSampler",
    "WeightedSampler",
    "check_batch",
    "derived_seed",
    "generator_for",
    "process_slice",
    "seeded",
]


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


def check_batch(batch_size: int, rows: int, purpose: str) -> None:
    """Raises `RunError` unless a stage's batch can be filled from its rows."""
    if not 1 <= batch_size <= rows:
        raise RunError(
            f"got a batch size of {batch_size} for {rows} rows of data, expected at least 1 "
            f"and at most {rows}: set --{purpose}.batch-size"
        )


class EpochSampler:
    """Batches of row indices, without replacement within an epoch.

    Batch k is a slice of its epoch's permutation, which depends on (seed, purpose, epoch) alone;
    the rows that do not fill a batch are left out of that epoch.

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
        check_batch(batch_size, rows, purpose)
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        self._purpose = purpose
        self._device = device
        self._epoch = -1
        self._permutation = torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """Returns the row indices (batch_size,) of a step, counted from 0."""
        epoch, position = divmod(step, self._rows // self._batch_size)
        if epoch != self._epoch:
            generator = generator_for(self._seed, f"{self._purpose}/order", epoch, self._device)
            self._permutation = torch.randperm(self._rows, generator=generator, device=self._device)
            self._epoch = epoch
        return self._permutation[position * self._batch_size : (position + 1) * self._batch_size]


class WeightedSampler:
    """Batches of row indices, with replacement, each row as often as its weight says.

    Args:
        weights: of the rows, (N,), at least 0 and not all 0.
        batch_size: rows of a global batch.
        seed: of the run.
        purpose: keeps apart the rows of different stages.

    Example:
        >>> sampler = WeightedSampler(torch.eye(4)[1], 4, seed=0, purpose="critic")
        >>> sampler(0).tolist()
        [1, 1, 1, 1]
    """

    def __init__(self, weights: Tensor, batch_size: int, *, seed: int, purpose: str) -> None:
        check_batch(batch_size, len(weights), purpose)
        below = weights.double().cumsum(0)
        self._below = below / below[-1]
        self._batch_size, self._seed, self._purpose = batch_size, seed, purpose

    def __call__(self, step: int) -> Tensor:
        """Returns the row indices (batch_size,) of a step, counted from 0."""
        device = self._below.device
        generator = generator_for(self._seed, f"{self._purpose}/weighted", step, device)
        size = self._batch_size
        points = torch.rand(size, generator=generator, dtype=torch.float64, device=device)
        return torch.searchsorted(self._below, points, right=True).clamp_(max=len(self._below) - 1)
