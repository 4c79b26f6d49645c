"""A training that is killed and started again, by a plan: `python killable.py DATA RUN_DIR PLAN`.

The plan is JSON, a list of [stage, kind, moment]. SIGKILL comes after so many steps of the stage
(`step`), before so many of its accesses to files, counted from the start of the child (`access`),
or before an access to a file with that in its path (`file`). Where a stage ends before, it comes at
the first step of the next one. Children are forks, so that only one process imports torch. How each
ended is printed as JSON.
"""

import gc
import json
import os
import signal
import sys
from pathlib import Path

import torch

from scoreregs_offline_rl import (
    STAGES,
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.runs.run import train


def configuration(data: str) -> TrainConfig:
    """Sizes at which a stage takes a moment."""
    return TrainConfig(
        data=data,
        beta=0.1,
        critic=CriticConfig(steps=30, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=25, batch_size=32, width=16, held_out=50),
        policy=PolicyConfig(steps=26, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=1),
        trainer=TrainerConfig(log_every=10, checkpoint_every=5, cpu=True),
    )


def train_until_killed(data: str, run_dir: Path, stage: str, kind: str, moment: int | str) -> None:
    """Train, and send SIGKILL to this process where the plan says so."""
    accesses = 0

    def watch_files(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal accesses
        if event.startswith(("open", "os.", "shutil.", "pathlib.")) and arguments:
            path = str(arguments[0])
            inside = path.startswith(str(run_dir / stage) + os.sep)
            accesses += inside
            named = kind == "file" and str(moment) in path
            if inside and (named or accesses == moment):
                signal.raise_signal(signal.SIGKILL)

    def progress(running: str, step: int, steps: int, metrics: dict[str, float]) -> None:
        later = STAGES.index(running) > STAGES.index(stage)  # pyright: ignore[reportArgumentType]
        if later or (kind == "step" and running == stage and step == moment):
            signal.raise_signal(signal.SIGKILL)

    if kind != "step":
        sys.addaudithook(watch_files)
    train(configuration(data), run_dir, progress=progress)


def main() -> None:
    """Follow the plan, then train to the end."""
    torch.set_num_threads(1)
    # The first optimiser imports the compiler, which takes longer than all the rest.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    # Every stage collects garbage, and in a fork that touches all pages of what is imported.
    gc.freeze()
    data, run_dir = sys.argv[1], Path(sys.argv[2])
    ends = []
    for stage, kind, moment in json.loads(sys.argv[3]):
        child = os.fork()
        if child == 0:
            try:
                train_until_killed(data, run_dir, stage, kind, moment)
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        finished = [name for name in STAGES if (run_dir / name / "report.json").exists()]
        ends.append([stage, os.WTERMSIG(status) == signal.SIGKILL, finished])
    train(configuration(data), run_dir)
    sys.stdout.write(json.dumps(ends))


if __name__ == "__main__":
    main()
