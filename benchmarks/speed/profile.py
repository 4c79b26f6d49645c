"""Where the time of a training step goes, by a profiler, and how much of it is not arithmetic.

python -m benchmarks.speed.profile --output profile.json

Steps are those of `train`: rows, randoms, loss, optimiser, averages, metrics. A share is of the
time under the profiler, which makes small operations dearer than they are. What a step costs at a
batch of one row is what it costs beside arithmetic: dispatch, Python, and passes over the
parameters.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from torch._inductor import metrics
from torch.profiler import ProfilerActivity, profile

from benchmarks.machine import machine, public_command
from benchmarks.speed.workload import ACTION, DEVICE, OBSERVATION, fresh_accelerator, random_rows
from benchmarks.stages import fresh_stage
from scoreregs_offline_rl import Given, TrainConfig, preset
from scoreregs_offline_rl.files import save_json
from scoreregs_offline_rl.runs.resolution import complete
from scoreregs_offline_rl.stages.stacking import stack
from scoreregs_offline_rl.training.inputs import SeedInputs, StackedInputs
from scoreregs_offline_rl.training.memory import keep_freed_memory
from scoreregs_offline_rl.training.step import TrainingStep

__all__ = ["make_step", "markdown", "profiled"]

STAGES = ("critic", "behavior", "policy")
KINDS = ("products", "element by element", "randoms", "rows", "optimiser", "averages", "autograd")
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "mkldnn_linear")
_RANDOM = ("uniform_", "normal_", "rand", "randn", "random_", "randperm", "ge")
_ROWS = ("index", "index_select", "gather")
# They make no kernel: another view of the same memory, or memory alone.
_VIEWS = {
    *(
        "as_strided",
        "t",
        "transpose",
        "view",
        "expand",
        "detach",
        "detach_",
        "squeeze",
        "unsqueeze",
    ),
    *("select", "slice", "reshape", "alias", "empty", "empty_like", "empty_strided", "unbind"),
    *("split", "split_with_sizes", "permute", "unflatten", "flatten", "narrow", "lift_fresh"),
    *("resolve_conj", "resolve_neg", "result_type", "item", "_local_scalar_dense", "to"),
    *("_to_copy", "linear", "relu", "matmul", "mT", "is_nonzero", "chunk", "broadcast_tensors"),
}


@dataclass(frozen=True)
class Arguments:
    """Where the time of a training step goes."""

    output: Path
    """The JSON that is written."""
    seconds: float = 4.0
    """Of steps of each row."""
    threads: int = 1
    """Of PyTorch."""
    presets: tuple[str, ...] = ("paper", "laptop")
    """Whose sizes."""
    stages: tuple[str, ...] = STAGES
    """Those to measure."""
    compiled: bool = False
    """Whether gradients are those of compiled graphs."""


def make_step(
    name: str, config: TrainConfig, batch_size: int, *, compiled: bool = False
) -> Callable[[], Any]:
    """Returns a step of a stage; its policies, where there are several, are stacked."""
    sizes = OBSERVATION, ACTION
    config = complete(config)
    stage, rows = fresh_stage(name, config, sizes, DEVICE), random_rows(20_000)
    count = getattr(getattr(config, name), "policies", 1)
    inputs: Any = [
        SeedInputs(stage, rows, batch_size, seed=seed, part=slice(None)) for seed in range(count)
    ]
    if count > 1:
        given: Any = stage.given  # pyright: ignore[reportAttributeAccessIssue]
        stage = stack([stage] * count)
        betas = torch.full((count,), config.beta or 0.1, dtype=torch.float64, device=DEVICE)
        stage.receive(Given(given.value, given.prior, betas))
    step = TrainingStep(
        stage, inputs[0] if count == 1 else StackedInputs(inputs), fresh_accelerator()
    )
    counter = iter(range(10**9))
    step(next(counter))
    if compiled:
        # Not at the head of the file, so that it measures versions before there was one.
        from scoreregs_offline_rl.training.compilation import CompiledGradients

        step.gradients = CompiledGradients(step)
    return lambda: step(next(counter))


def _time(step: Callable[[], Any], seconds: float) -> list[float]:
    times: list[float] = []
    while sum(times) < seconds or len(times) < 10:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def profiled(step: Callable[[], Any], steps: int) -> dict[str, Any]:
    """Returns the shares of a step's time by kind, and how many kernels it starts."""
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wall = 1e6 * (time.perf_counter() - start)
    spent: Counter[str] = Counter()
    kernels = 0
    for event in found.events() or []:
        kind, counts = _kind(event)
        spent[kind] += event.self_cpu_time_total
        kernels += counts
    shares = {kind: round(spent[kind] / wall, 4) for kind in KINDS}
    return {
        "shares": shares | {"python": round(1 - sum(shares.values()), 4)},
        "kernels": kernels / steps,
    }


def _kind(event: Any) -> tuple[str, bool]:
    """Returns what an event belongs to, and whether it is a kernel's start."""
    name = event.name.removeprefix("aten::")
    counts = event.name.startswith("aten::") and name not in _VIEWS
    parent = event
    while parent is not None:
        if parent.name.startswith("Optimizer."):
            return "optimiser", counts
        parent = parent.cpu_parent
    if not event.name.startswith("aten::"):
        return "autograd", counts
    for kind, names in (("products", _PRODUCTS), ("randoms", _RANDOM), ("rows", _ROWS)):
        if name in names:
            return kind, counts
    return ("averages" if "lerp" in name else "element by element"), counts


def measure(arguments: Arguments) -> list[dict[str, Any]]:
    """Returns a row for each preset and stage."""
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    rows: list[dict[str, Any]] = []
    for name in arguments.presets:
        config = replace(preset("random rows", name), beta=0.1)  # pyright: ignore[reportArgumentType]
        for stage in arguments.stages:
            batch = getattr(config, stage).batch_size
            metrics.reset()
            steps = {
                which: make_step(stage, config, size, compiled=arguments.compiled)
                for which, size in (("whole", batch), ("one", 1))
            }
            times: dict[str, list[float]] = {which: [] for which in steps}
            for step in steps.values():
                step()
            generated = metrics.generated_kernel_count / len(steps)
            for step in steps.values():
                _time(step, arguments.seconds / 4)
            for _ in range(4):
                for which, step in steps.items():
                    times[which] += _time(step, arguments.seconds / 4)
            least, one = min(times["whole"]), min(times["one"])
            row = {"preset": name, "stage": stage, "batch": batch, "milliseconds": 1e3 * least}
            row |= {"median": 1e3 * median(times["whole"]), "at one row": one / least}
            count = max(5, min(100, int(arguments.seconds / least)))
            row |= profiled(steps["whole"], count)
            rows.append(row | {"generated": generated})
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns a Markdown table, shares in percent."""
    columns = [*KINDS, "python"]
    lines = [
        f"| Preset | Stage | ms | At one row | Kernels | {' | '.join(columns)} |",
        f"|{'---|' * (len(columns) + 5)}",
    ]
    for row in rows:
        shares = " | ".join(f"{row['shares'][kind]:.0%}" for kind in columns)
        kernels = f"{row['kernels']:.0f} + {row['generated']:.0f}"
        numbers = f"{row['milliseconds']:.2f} | {row['at one row']:.0%} | {kernels}"
        lines.append(f"| {row['preset']} | {row['stage']} | {numbers} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, writes the results and prints the table."""
    arguments = tyro.cli(Arguments)
    rows = measure(arguments)
    content = {
        "command": public_command("benchmarks.speed.profile", sys.argv[1:]),
        "threads": arguments.threads,
        **machine(),
        "rows": rows,
    }
    save_json(arguments.output, content)
    print(markdown(rows))


if __name__ == "__main__":
    main()
