"""Score by time of training, ours beside the paper's code, one change of settings at a time.

    python -m benchmarks.quality.time_to_score --data FILE --run-dir DIR --paper-code CHECKOUT
    python -m benchmarks.quality.time_to_score --redraw

What is finished in the run directory is not trained again, and a curve's time is its steps times
the seconds of a step, which every call measures anew, in turns: where the training was disturbed,
the same command on a quiet machine sets the times right.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import tyro

from benchmarks.machine import machine, public_command
from benchmarks.paper_code import checked_checkout
from benchmarks.quality.command import each_once, plain_errors
from benchmarks.quality.paper import style
from benchmarks.quality.paper.outcome import Outcome, load, save
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.time_to_score.curves import COLUMNS, our_curves, paper_curves
from benchmarks.quality.time_to_score.report import draw, table
from benchmarks.quality.time_to_score.settings import PAPER_CODE, settings
from benchmarks.quality.time_to_score.timing import our_steps, paper_steps, step_seconds
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import load_data
from scoreregs_offline_rl.tasks import normalized_score

ROOT = Path(__file__).resolve().parents[3]
NAME = "time-to-score"


@dataclass(frozen=True)
class Arguments:
    """Score by time of training, ours beside the paper's code."""

    data: str | None = None
    """A file in D4RL's layout, or the name of a data set."""
    run_dir: Path | None = None
    """Where runs are kept and found again."""
    paper_code: Path | None = None
    """A checkout of github.com/thu-ml/SRPO, to run beside."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of weights, batches and noise."""
    goals: tuple[float, ...] = (20.0, 40.0)
    """Normalised scores whose time is asked for."""
    results: Path = ROOT / "benchmarks/results"
    """Where its JSON and CSV are."""
    picture: Path = ROOT / f"docs/images/{NAME}.png"
    """The picture."""
    redraw: bool = False
    """Draw it from its results, without computing anything."""
    protocol: Protocol = field(default_factory=lambda: Protocol(evaluate_every=500, episodes=10))


def measure(arguments: Arguments, source: str, run_dir: Path) -> Outcome:
    """Trains what is missing and times the steps."""
    protocol, seeds = arguments.protocol, arguments.seeds
    data = load_data(source)
    known, rows, steps = settings(protocol), [], {}
    if arguments.paper_code is not None:
        rows += paper_curves(protocol, data, seeds, run_dir, arguments.paper_code)
        steps[PAPER_CODE] = paper_steps(protocol, data, arguments.paper_code)
    for setting in known:
        rows += our_curves(setting, data, seeds, run_dir)
        steps[setting.label] = our_steps(setting, data)
    numbers = {
        "file": Path(source).stem,
        "data": normalized_score(float(data.returns().mean()), data.environment or ""),
        "goals": list(arguments.goals),
        "steps": {
            name: getattr(protocol, f"{name}_steps") for name in ("critic", "behavior", "policy")
        },
        "step_seconds": step_seconds(steps),
    }
    return Outcome(numbers, {"curves": dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))})


def main(words: Sequence[str] | None = None) -> None:
    """Computes or loads the results, draws them and prints their table."""
    words = list(sys.argv[1:] if words is None else words)
    arguments = tyro.cli(Arguments, args=words)
    with plain_errors():
        if not arguments.redraw:
            _compute(arguments, words)
        outcome = load(arguments.results, NAME)
    with style.styled():
        style.save(draw(outcome), arguments.picture)
    print(table(outcome))


def _compute(arguments: Arguments, words: Sequence[str]) -> None:
    if arguments.data is None or arguments.run_dir is None:
        raise ArgumentError("got no --data or no --run-dir, expected both unless --redraw")
    each_once("--seeds", arguments.seeds)
    if arguments.paper_code is not None:
        checked_checkout(arguments.paper_code)
    outcome = measure(arguments, arguments.data, arguments.run_dir)
    about = {
        "command": public_command("benchmarks.quality.time_to_score", words),
        "seeds": list(arguments.seeds),
        "threads": torch.get_num_threads(),
        **machine(),
        "protocol": asdict(arguments.protocol),
    }
    save(outcome, arguments.results, NAME, about)


if __name__ == "__main__":
    main()
