"""Metrics of a stage: means over the logging interval, a line of JSON each."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor

from scoreregs_offline_rl.files import replacing, writing

__all__ = ["MetricsFile", "RunningMean"]


class RunningMean:
    """Means of named numbers over steps and processes.

    The sums stay on their device: only `mean` and `state` wait for it.

    Args:
        accelerator: knows the processes.
        labels: of the members, where a metric has one number for each: `loss/seed-0`.
    """

    def __init__(self, accelerator: Accelerator, labels: Sequence[str] = ()) -> None:
        self._accelerator = accelerator
        self._labels = labels
        self._names: list[str] = []
        self._sums = torch.zeros(0, device=accelerator.device)
        self._count = 0

    def add(self, values: Tensor, names: Sequence[str], steps: int = 1) -> None:
        """Takes in a step's numbers, or the sums of several; names are the same in every step."""
        if self._count and self._names != list(names):
            self._add_names(names)
        self._sums = self._sums + values if self._count else values
        self._names = list(names)
        self._count += steps

    @property
    def count(self) -> int:
        """The steps since the last reset."""
        return self._count

    def mean(self) -> dict[str, float]:
        """Returns the means since the last reset."""
        sums = self._totals()
        if not self._labels:
            return {name: value / self._count for name, value in sums.items()}
        return {
            f"{name}/{label}": value / self._count
            for name, values in sums.items()
            for label, value in zip(self._labels, values, strict=True)
        }

    def reset(self) -> None:
        """Forgets every step."""
        self._count = 0

    def state(self) -> dict[str, Any]:
        """Returns what `load` needs, for JSON; a float32 survives it exactly."""
        return {
            "sums": json.loads(json.dumps(self._totals()), parse_constant=str),
            "count": self._count,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a `state`."""
        self._names = list(state["sums"])
        # JSON has no word for what is not finite: it is a text.
        sums = [
            [float(n) for n in s] if isinstance(s, list) else float(s)
            for s in state["sums"].values()
        ]
        self._sums = torch.tensor(sums, device=self._accelerator.device)
        self._count = state["count"]

    def _add_names(self, names: Sequence[str]) -> None:
        """Has sums of 0 for numbers that the older version did not have whose state was loaded."""
        own = dict(zip(self._names, self._sums, strict=True))
        none = torch.zeros_like(self._sums[0])
        self._sums = torch.stack([own.get(name, none) for name in names])

    def _totals(self) -> dict[str, Any]:
        """Returns the sums by name, over all processes."""
        if not self._count:
            return {}
        sums = cast(Tensor, self._accelerator.reduce(self._sums, reduction="mean")).tolist()
        return dict(zip(self._names, sums, strict=True))


class MetricsFile:
    """A file of one JSON object a line, each with its step.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def truncate(self, step: int) -> None:
        """Drops the lines after a step, and a last line that was cut while it was written."""
        if not self._path.exists():
            return
        lines = self._path.read_text().splitlines(keepends=True)
        whole = (line for line in lines if line.endswith("\n"))
        with writing(self._path), replacing(self._path) as partial:
            partial.write_text("".join(line for line in whole if json.loads(line)["step"] <= step))

    def append(self, record: dict[str, Any]) -> None:
        """Adds a line."""
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(record) + "\n")
