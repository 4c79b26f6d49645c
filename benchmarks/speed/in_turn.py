"""Our steps and others' in turn, one pair after the other, on a machine that is not quiet.

    SCOREREGS_SRPO=path/to/SRPO python -m benchmarks.speed.in_turn --output in-turn.json

What else the machine does falls on both steps of a pair, so that ratios of pairs hold where medians
of rows, minutes apart, do not. Sizes are the paper's, as in `test_stages`.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.machine import machine, public_command
from benchmarks.speed.paired import time_in_turn
from benchmarks.speed.plain import PLAIN
from benchmarks.speed.test_stages import one_batch, our_step, paper_step
from benchmarks.speed.workload import BATCH
from scoreregs_offline_rl.files import save_json
from scoreregs_offline_rl.training.memory import keep_freed_memory

__all__ = ["others", "ours"]

Step = Callable[[], Any]


@dataclass(frozen=True)
class Arguments:
    """Our steps and others' in turn."""

    output: Path
    """The JSON that is written."""
    rounds: int = 300
    """Pairs of the critic and the policy; of the behavior model a tenth."""
    stages: tuple[str, ...] = tuple(BATCH)
    """Whose steps are timed."""


def ours(stage: str) -> Iterator[tuple[str, Step]]:
    """Yields our steps of a stage by the name of their row."""
    yield "eager", our_step(stage)
    yield "compiled", our_step(stage, compiled=True)
    yield "compiled, bf16", our_step(stage, compiled=True, precision="bf16")


def others(stage: str) -> Iterator[tuple[str, Step]]:
    """Yields those of plain torch and, where SCOREREGS_SRPO names it, of the paper's code."""
    batch, plain = one_batch(stage), PLAIN[stage]()
    yield "plain torch", lambda: plain(batch)
    if "SCOREREGS_SRPO" in os.environ:
        yield "the paper's code", paper_step(stage, Path(os.environ["SCOREREGS_SRPO"]))


def main() -> None:
    """Times every pair, writes the results and prints how many times as long the others take."""
    arguments = tyro.cli(Arguments)
    keep_freed_memory()
    rows: list[dict[str, Any]] = []
    for stage in arguments.stages:
        rounds = arguments.rounds // (10 if stage == "behavior" else 1)
        for name, theirs in others(stage):
            for way, step in ours(stage):
                found = time_in_turn(theirs, step, max(rounds, 2))
                rows.append({"stage": stage, "other": name, "ours": way} | asdict(found))
                low, high = found.interval
                print(f"{stage}: {name} takes {found.ratio:.2f} ({low:.2f} to {high:.2f}) of {way}")
    content = {
        "command": public_command("benchmarks.speed.in_turn", sys.argv[1:]),
        "threads": torch.get_num_threads(),
        **machine(),
        "rows": rows,
    }
    save_json(arguments.output, content)


if __name__ == "__main__":
    main()
