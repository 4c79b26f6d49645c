"""What it is worth to keep freed memory: step times and page faults, with it and without.

python -m benchmarks.speed.freed_memory --output freed-memory.json

It cannot be taken back within a process, so every row has processes of its own, in turns.
"""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro

from benchmarks.machine import machine, public_command
from benchmarks.speed.memory import alone
from benchmarks.speed.test_stages import our_step
from benchmarks.speed.test_sweep import sweep_step
from scoreregs_offline_rl.files import save_json
from scoreregs_offline_rl.training.memory import keep_freed_memory

__all__ = ["markdown", "measure", "time_steps"]

CASES: dict[str, tuple[str, bool, bool]] = {
    "critic": ("critic", False, False),
    "behavior": ("behavior", False, False),
    "behavior, compiled": ("behavior", False, True),
    "policy": ("policy", False, False),
    "6 critics": ("critic", True, False),
    "6 behavior models": ("behavior", True, False),
    "6 behavior models, compiled": ("behavior", True, True),
    "36 policies": ("policy", True, False),
}
"""The stage, whether it is a sweep's, and whether it is compiled."""


@dataclass(frozen=True)
class Arguments:
    """What it is worth to keep freed memory."""

    output: Path
    """The JSON that is written."""
    seconds: float = 5.0
    """Of steps in each process, at least 5 steps."""
    turns: int = 2
    """Processes of each row."""
    threads: int = 2
    """Of PyTorch."""
    cases: tuple[str, ...] = tuple(CASES)
    """Those to measure."""


def time_steps(case: str, kept: bool, seconds: float, threads: int) -> dict[str, float]:
    """Returns the median milliseconds of a step and its page faults, in this process."""
    torch.set_num_threads(threads)
    if kept and not keep_freed_memory():
        raise SystemExit("got no GNU C library, or its settings from the environment")
    name, swept, compiled = CASES[case]
    step = (sweep_step if swept else our_step)(name, compiled=compiled)
    for _ in range(5):
        step()
    times: list[float] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    while sum(times) < seconds or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {"milliseconds": 1e3 * median(times), "faults": faults / len(times)}


def measure(arguments: Arguments) -> list[dict[str, Any]]:
    """Returns the medians over processes of each case, without and with kept memory."""
    rows: list[dict[str, Any]] = []
    for case in arguments.cases:
        found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(arguments.turns):
            for kept, its in found.items():
                its.append(alone(time_steps, case, kept, arguments.seconds, arguments.threads))
        for kept, its in found.items():
            medians = {key: median(x[key] for x in its) for key in ("milliseconds", "faults")}
            rows.append({"case": case, "kept": kept, **medians})
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns a Markdown table.

    Example:
        >>> row = {"case": "critic", "kept": True, "milliseconds": 5.0, "faults": 2.25}
        >>> print(markdown([row]).splitlines()[-1])
        | critic | yes | 5.0 | 2 |
    """
    lines = ["| A step of | Freed memory kept | ms | Page faults |", "|---|---|---|---|"]
    for row in rows:
        kept = "yes" if row["kept"] else "no"
        numbers = f"{row['milliseconds']:.1f} | {row['faults']:.0f}"
        lines.append(f"| {row['case']} | {kept} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, writes the results and prints the table."""
    arguments = tyro.cli(Arguments)
    rows = measure(arguments)
    content = {
        "command": public_command("benchmarks.speed.freed_memory", sys.argv[1:]),
        "seed": 0,
        "threads": arguments.threads,
        **machine(),
        "rows": rows,
    }
    save_json(arguments.output, content)
    print(markdown(rows))


if __name__ == "__main__":
    main()
