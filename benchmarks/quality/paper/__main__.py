"""Compute a figure of the paper, or draw it again from its results.

    python -m benchmarks.quality.paper figure-2
    python -m benchmarks.quality.paper figure-2 --redraw
    python -m benchmarks.quality.paper figure-6 --data FILE FILE --run-dir DIR

writes NAME.json and its CSV files to the folder of results, and the pictures to theirs.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
import tyro
from matplotlib.figure import Figure

from benchmarks.machine import machine, public_command
from benchmarks.quality.command import each_once, plain_errors
from benchmarks.quality.paper import (
    figure_2,
    figure_6,
    figure_8,
    figure_9,
    figure_10,
    figures_3_and_7,
    offline_rl,
    propositions,
    style,
)
from benchmarks.quality.paper.outcome import Outcome, load, save
from scoreregs.errors import ArgumentError

__all__ = ["FIGURES", "FigureModule", "main"]

_ROOT = Path(__file__).resolve().parents[3]
_RESULTS = _ROOT / "benchmarks/results/paper"
_PICTURES = _ROOT / "docs/images/paper"


class FigureModule(Protocol):
    """What the module of a figure has."""

    @property
    def FULL(self) -> Any:  # noqa: N802
        """The budget, a frozen dataclass, that the committed results were made with."""

    @property
    def QUICK(self) -> Any:  # noqa: N802
        """A budget of seconds, for tests."""

    @property
    def measure(self) -> Callable[..., Outcome]:
        """From a budget and a seed; a budget of `offline_rl` needs its `Runs`, too."""
        ...

    def draw(self, outcome: Outcome) -> dict[str, Figure]:
        """Returns the pictures by file name, without its ending."""
        ...

    def table(self, outcome: Outcome) -> str:
        """Returns the numbers as a Markdown table, which the figure's page holds."""
        ...


FIGURES: dict[str, FigureModule] = {
    "figure-2": figure_2,
    "figures-3-and-7": figures_3_and_7,
    "figure-6": figure_6,
    "figure-8": figure_8,
    "figure-9": figure_9,
    "figure-10": figure_10,
    "propositions": propositions,
}


@dataclass(frozen=True)
class Arguments:
    """Compute a figure of the paper, or draw it again from its results."""

    figure: Annotated[str, tyro.conf.Positional]
    """Its name; an unknown one is answered with all names."""
    results: Path = _RESULTS
    """Where its JSON and CSV files are."""
    pictures: Path = _PICTURES
    """Where its pictures are."""
    redraw: bool = False
    """Draw it from its results, without computing anything."""
    quick: bool = False
    """Compute in seconds, with numbers to no purpose."""
    seed: int = 0
    """Of data, weights, batches and noise; the first of several."""
    data: tuple[str, ...] = ()
    """For Figures 6, 9 and 10, which need it: files in D4RL's layout, or names of data sets."""
    run_dir: Path | None = None
    """For Figures 6, 9 and 10, which need it: where what they train is kept and found again."""


def main(words: Sequence[str] | None = None) -> None:
    """Computes or loads a figure's results, draws it and prints its table."""
    words = list(sys.argv[1:] if words is None else words)
    arguments = tyro.cli(Arguments, args=words)
    with plain_errors():
        module = _module(arguments)
        paths = [] if arguments.redraw else _compute(module, arguments, words)
        outcome = _found(arguments)
    with style.styled():
        for name, figure in module.draw(outcome).items():
            paths.append(arguments.pictures / f"{name}.png")
            style.save(figure, paths[-1])
    print(module.table(outcome))
    print("\n".join(f"wrote {path}" for path in paths))


def _module(arguments: Arguments) -> FigureModule:
    if arguments.figure not in FIGURES:
        raise ArgumentError(f"got {arguments.figure!r}, expected one of {', '.join(FIGURES)}")
    return FIGURES[arguments.figure]


def _compute(module: FigureModule, arguments: Arguments, words: Sequence[str]) -> list[Path]:
    budget = module.QUICK if arguments.quick else module.FULL
    if arguments.quick and (arguments.results == _RESULTS or arguments.pictures == _PICTURES):
        raise ArgumentError(
            "got --quick without --results and --pictures, expected both: "
            "its numbers would replace those that are kept with the code"
        )
    start = time.process_time()
    outcome = _measure(module, budget, arguments)
    about = {
        "command": public_command("benchmarks.quality.paper", words),
        "seed": arguments.seed,
        "processor_seconds": round(time.process_time() - start, 1),
        "threads": torch.get_num_threads(),
        **machine(),
        "budget": asdict(budget),
    }
    return save(outcome, arguments.results, arguments.figure, about)


def _measure(module: FigureModule, budget: Any, arguments: Arguments) -> Outcome:
    if isinstance(budget, offline_rl.Budget):
        # A file's runs are kept under its stem.
        each_once(
            "--data (without folder and ending)", [Path(name).stem for name in arguments.data]
        )
        if arguments.run_dir is None:
            raise ArgumentError("got no --run-dir, expected where runs are kept and found again")
        return module.measure(
            budget, arguments.seed, offline_rl.Runs(arguments.data, arguments.run_dir)
        )
    try:
        return module.measure(budget, arguments.seed)
    except KeyboardInterrupt as interrupt:
        told = "interrupted; nothing is kept, the same command starts over"
        raise KeyboardInterrupt(told) from interrupt


def _found(arguments: Arguments) -> Outcome:
    if not (arguments.results / f"{arguments.figure}.json").exists():
        raise ArgumentError(
            f"got no {arguments.figure}.json in {arguments.results}, expected results: "
            "compute them by the same command without --redraw"
        )
    return load(arguments.results, arguments.figure)


if __name__ == "__main__":
    main()
