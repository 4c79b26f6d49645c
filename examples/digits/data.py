"""scikit-learn's handwritten digits, in [-1, 1]."""

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

CLASSES = 10
# The label that stands for "any digit".
NULL = 10


@dataclass(frozen=True)
class Digits:
    """Images, (count, 1, 8, 8), and their labels, (count,)."""

    images: Tensor
    labels: Tensor

    def part(self, start: int, stop: int | None = None) -> Self:
        """Returns the digits from `start` to `stop`."""
        return type(self)(self.images[start:stop], self.labels[start:stop])


def load_digits() -> Digits:
    """Returns all 1797 digits.

    Raises:
        ImportError: without scikit-learn.
    """
    try:
        # By name, for type checkers that run where it is not installed.
        datasets: Any = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(
            "got no package 'scikit-learn', expected it to be importable, for its digits: "
            "install it with `pip install scikit-learn`"
        ) from error
    found = datasets.load_digits()
    images = torch.tensor(found.images, dtype=torch.float32)[:, None] / 8 - 1
    return Digits(images, torch.tensor(found.target, dtype=torch.int64))


def split(digits: Digits, held_out: int, seed: int) -> tuple[Digits, Digits, Digits]:
    """Returns shuffled digits to train on, to tune on and to test on, `held_out` in the latter."""
    order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(seed))
    shuffled = Digits(digits.images[order], digits.labels[order])
    return (
        shuffled.part(2 * held_out),
        shuffled.part(held_out, 2 * held_out),
        shuffled.part(0, held_out),
    )
