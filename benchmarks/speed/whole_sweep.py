"""A sweep of six seeds by six temperatures as one job, beside 36 runs one after another.

    python -m benchmarks.speed.whole_sweep --data FILE --run-dir runs/whole --output whole.json

Both are measured from their first line to their result, evaluation included, with the laptop preset
at a part of its steps; the data is read before. A part this small takes all that does not grow with
the steps, as drawing the initial weights, for what it is in a run of seconds.
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from benchmarks.machine import machine, public_command
from scoreregs_offline_rl import SweepGrid, TrainConfig, preset, sweep, train
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.files import save_json

__all__ = ["shortened"]

SEEDS = tuple(range(6))
BETAS = (0.01, 0.02, 0.03, 0.1, 0.2, 0.3)
STAGES = ("critic", "behavior", "cloning", "policy")


@dataclass(frozen=True)
class Arguments:
    """A sweep as one job beside its runs one after another."""

    data: str
    """As of `train`."""
    run_dir: Path
    """An empty folder."""
    output: Path
    """The JSON that is written."""
    part: float = 0.02
    """Of the preset's steps."""
    episodes: int = 2
    """Of the evaluation of each policy."""
    seeds: tuple[int, ...] = SEEDS
    """Of the grid."""
    betas: tuple[float, ...] = BETAS
    """Of the grid."""


def shortened(config: TrainConfig, part: float, episodes: int) -> TrainConfig:
    """Returns a configuration with a part of the steps in every stage.

    Args:
        config: whose stages have steps.
        part: in (0, 1].
        episodes: of each evaluation.
    """
    stages = {name: getattr(config, name) for name in config.stages()}
    fewer = {
        name: replace(its, steps=max(1, round(part * its.steps))) for name, its in stages.items()
    }
    evaluation = replace(config.evaluation, episodes=episodes)
    return replace(config, **fewer, evaluation=evaluation)


def main() -> None:
    """Measures both, writes the result and prints the ratio."""
    arguments = tyro.cli(Arguments)
    config = shortened(preset(arguments.data, "laptop"), arguments.part, arguments.episodes)
    data = load_data(config.data, config.loading)
    grid = SweepGrid(arguments.seeds, arguments.betas)
    start = time.perf_counter()
    sweep(config, arguments.run_dir / "sweep", grid=grid, data=data, stages=STAGES)
    together, alone = time.perf_counter() - start, []
    for label, its in zip(grid.labels, grid.configs(config), strict=True):
        start = time.perf_counter()
        train(its, arguments.run_dir / label, data=data, stages=STAGES)
        alone.append(time.perf_counter() - start)
    content = {
        "command": public_command("benchmarks.speed.whole_sweep", sys.argv[1:]),
        "threads": torch.get_num_threads(),
        **machine(),
        "members": len(grid.labels),
        "steps": {name: getattr(config, name).steps for name in STAGES},
        "episodes": arguments.episodes,
        "sweep_seconds": together,
        "runs_seconds": alone,
        "ratio": together / sum(alone),
    }
    save_json(arguments.output, content)
    print(f"{together:.1f} s as one job, {sum(alone):.1f} s as runs: {content['ratio']:.2f}")


if __name__ == "__main__":
    main()
