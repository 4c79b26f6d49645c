"""A run that is killed at random moments and started again, beside one that was not.

python -m benchmarks.quality.kills --output benchmarks/results/kills.json

SIGKILL comes after a random time, whatever the process does by then: it trains, writes a
checkpoint, evaluates. The weights of every stage and the policies' files are compared byte by byte.
Children are forks, so that only one process imports torch.
"""

import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.machine import machine, public_command
from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
    load_data,
    train,
)
from scoreregs_offline_rl.files import save_json, sha256_of

__all__ = ["Killed", "measure"]

_FILES = ("*/weights.safetensors", "*agent/model.safetensors")


@dataclass(frozen=True)
class Arguments:
    """Kills a small run again and again, and compares what becomes of it."""

    output: Path
    """The JSON that is written."""
    kills: int = 50
    """How many in all."""
    seed: int = 0
    """Of the moments, and of the first run."""
    share: float = 0.15
    """The longest time to a kill, as a part of what a run takes that is not killed."""


@dataclass(frozen=True)
class Killed:
    """A run that was killed and went on until it was through.

    Attributes:
        seed: of the run.
        moments: seconds after its start that each kill came at.
        found: what lay in the directory at each kill: the stage that ran and its newest checkpoint.
        files: how many files of weights were compared.
        equal: whether all of them are those of a run that was not killed.
    """

    seed: int
    moments: list[float]
    found: list[str]
    files: int
    equal: bool


def configuration(seed: int) -> TrainConfig:
    """Returns a run of a few seconds."""
    return TrainConfig(
        "pendulum-swingup",
        beta=0.1,
        seed=seed,
        critic=CriticConfig(steps=300, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=300, batch_size=32, width=16),
        policy=PolicyConfig(steps=300, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=2),
        trainer=TrainerConfig(log_every=20, checkpoint_every=20, cpu=True),
    )


def measure(folder: Path, kills: int, seed: int, share: float) -> tuple[list[Killed], float]:
    """Returns runs that were killed so often in all, and the seconds of one that was not.

    Args:
        folder: where the runs go.
        kills: in all.
        seed: of the moments, and of the first run.
        share: the longest time to a kill, as a part of a whole run's.
    """
    moments, runs, left = random.Random(seed), [], kills
    data = load_data("pendulum-swingup")
    start = time.perf_counter()
    _start(configuration(seed), folder / "whole-0", data, wait=True)
    seconds = time.perf_counter() - start
    while left > 0:
        number = len(runs)
        config = configuration(seed + number)
        if number:
            _start(config, folder / f"whole-{number}", data, wait=True)
        killed = _kill(
            config, folder, number, data, left, lambda: moments.uniform(0, share * seconds)
        )
        runs.append(killed)
        left -= len(killed.moments)
    return runs, seconds


def _kill(
    config: TrainConfig, folder: Path, number: int, data: Any, most: int, draw: Any
) -> Killed:
    """Kills a run until it is through, at most so often."""
    run_dir, times, found = folder / f"killed-{number}", [], []
    while len(times) < most:
        child, after = _start(config, run_dir, data, wait=False), draw()
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            times.append(after)
            found.append(_state(run_dir))
        else:
            break
    _start(config, run_dir, data, wait=True)
    digests = [_digests(folder / f"{kind}-{number}") for kind in ("whole", "killed")]
    return Killed(config.seed, times, found, len(digests[0]), digests[0] == digests[1])


def _start(config: TrainConfig, run_dir: Path, data: Any, *, wait: bool) -> int:
    """Returns the process that trains; it has ended where it is waited for."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            train(config, run_dir, data=data)
            status = 0
        finally:
            os._exit(status)
    if wait and os.waitpid(child, 0)[1]:
        raise RuntimeError(f"the run in {run_dir} failed")
    return child


def _state(run_dir: Path) -> str:
    stages = [s for s in configuration(0).stages() if (run_dir / s).exists()]
    if not stages:
        return "nothing yet"
    newest = max(
        (p.name for p in (run_dir / stages[-1]).glob("checkpoints/step-*")), default="start"
    )
    ended = (run_dir / stages[-1] / "report.json").exists()
    return f"{stages[-1]}, {'finished' if ended else newest}"


def _digests(run_dir: Path) -> dict[str, str]:
    files = sorted(path for pattern in _FILES for path in run_dir.glob(pattern))
    return {str(path.relative_to(run_dir)): sha256_of(path) for path in files}


def main() -> None:
    """Measures, writes the results and prints them in one line."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(1)
    # The first optimiser imports the compiler, which takes longer than all the rest.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    with tempfile.TemporaryDirectory() as folder:
        runs, seconds = measure(Path(folder), arguments.kills, arguments.seed, arguments.share)
    content = {
        "command": public_command("benchmarks.quality.kills", sys.argv[1:]),
        "threads": 1,
        **machine(),
        "seconds_of_a_run": seconds,
        "kills": sum(len(run.moments) for run in runs),
        "equal": all(run.equal for run in runs),
        "runs": [asdict(run) for run in runs],
    }
    save_json(arguments.output, content)
    print(f"{content['kills']} kills of {len(runs)} runs; equal: {content['equal']}")


if __name__ == "__main__":
    main()
