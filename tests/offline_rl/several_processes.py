"""What every process of `test_processes` does: `torchrun ... several_processes.py DATA OUT SWEPT`.

SWEPT holds the sweep of one process.
"""

import json
import os
import signal
import sys
from collections.abc import Collection
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from unittest import mock

import torch
from accelerate import Accelerator, PartialState

from scoreregs_offline_rl import (
    AWRConfig,
    BehaviorConfig,
    CloningConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    SweepGrid,
    TrainConfig,
    TrainerConfig,
    sweep,
)
from scoreregs_offline_rl.commands.main import main as command_line
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.randoms import seeded
from scoreregs_offline_rl.runs import directory, division, run
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.stages.awr import AWRStage
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.cloning import CloningStage
from scoreregs_offline_rl.stages.critic import CriticStage, TwinValue
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.stacking import stack
from scoreregs_offline_rl.stages.stage import Given, Stage
from scoreregs_offline_rl.training import checkpoints, trainer
from scoreregs_offline_rl.training.inputs import Members
from scoreregs_offline_rl.training.interruption import InterruptedRun
from scoreregs_offline_rl.training.metrics import MetricsFile
from scoreregs_offline_rl.training.trainer import Progress, Trainer
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions

STEPS, BATCH = 100, 16
INTERRUPTED = ("critic", "behavior", "policy")
SIZES = (OBSERVATION, ACTION)
GRID = SweepGrid((0, 1, 2, 3), (0.1, 0.5))
# Where the main process writes alone, in the order in which a run comes there.
PLACES = (
    (directory, "save_json"),
    (MetricsFile, "append"),
    (checkpoints, "save_json"),
    (trainer, "save_stage"),
    (run, "save_json"),
)


def make_stages() -> dict[str, Stage]:
    """Every stage that several processes train as one does, in the default precision.

    TD3+BC, whose weight of Q is each process's own, does not.
    """
    with seeded(0, "test"):
        critic = CriticStage(*SIZES, CriticConfig(steps=STEPS, width=16, warm_start=0.3))
        dropped = BehaviorStage(*SIZES, BehaviorConfig(width=16, dropout=0.25))
        undropped = BehaviorStage(*SIZES, BehaviorConfig(width=16, dropout=0.0))
        members = [BehaviorStage(*SIZES, BehaviorConfig(width=16)) for _ in range(2)]
        policies = [DiracPolicy(*SIZES, width=16) for _ in range(3)]
    value, config = TwinValue(critic.critic), PolicyConfig(steps=STEPS)
    return {
        "critic": critic,
        "behavior": undropped,
        "behavior with dropout": dropped,
        "stacked behavior": stack(members),
        "cloning": CloningStage(policies[2], CloningConfig(steps=STEPS)),
        "awr": AWRStage(policies[0], AWRConfig(steps=STEPS), Given(value)),
        "policy": PolicyStage(policies[1], value, dropped.prior, config, beta=0.1),
    }


def in_double(data: Transitions) -> Transitions:
    """The data with floating tensors in float64."""
    values = {field.name: getattr(data, field.name) for field in fields(data)}
    doubled = {
        name: value.double()
        for name, value in values.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    return replace(data, **doubled)


def train_stages(
    out: Path,
    names: Collection[str] | None = None,
    *,
    compiled: bool | None = None,
    stop: int | None = None,
) -> None:
    """Train every stage, or some, in float64, each into a folder of its own.

    Args:
        out: where those are.
        names: of the stages; None: all.
        compiled: as of the settings.
        stop: step in which a signal comes; several processes stop at the next that they agree at.
    """
    torch.set_default_dtype(torch.float64)
    try:
        data = in_double(make_transitions())
        config = TrainerConfig(log_every=20, checkpoint_every=1000, compile=compiled)
        for name in make_stages() if names is None else names:
            # Afresh, so that what it builds on is the same however far another has come.
            stage = make_stages()[name]
            accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
            progress = signal_at(stage.name, stop)
            one, members = Trainer(accelerator, config, seed=0, progress=progress), None
            if name == "stacked behavior":
                members = Members(labels=("one", "two"), seeds=(1, 2))
            with suppress(InterruptedRun):
                one.run(
                    stage, data, steps=STEPS, batch_size=BATCH, folder=out / name, members=members
                )
    finally:
        torch.set_default_dtype(torch.float32)


def signal_at(stage: str, at: int | None) -> Progress:
    """Returns what sends SIGTERM to this process in a step of a stage."""

    def progress(running: str, step: int, steps: int, metrics: dict[str, float]) -> None:
        if (running, step) == (stage, at):
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


def configuration(data: str) -> TrainConfig:
    """A small run without evaluation."""
    return TrainConfig(
        data=data,
        beta=0.1,
        critic=CriticConfig(steps=60, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=60, batch_size=32, width=16),
        policy=PolicyConfig(steps=60, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=10, checkpoint_every=10_000, cpu=True),
    )


def train_interrupted(data: str, run_dir: Path) -> None:
    """One of the processes receives a signal in each stage; the last time they leave it at that."""
    place = PartialState().process_index
    for stage in INTERRUPTED:
        try:
            train(configuration(data), run_dir, stages=INTERRUPTED, progress=signal_at(stage, 20))
        except InterruptedRun as interruption:
            told = f"{interruption.stage} {interruption.step}"
            (run_dir / f"{stage}-stopped-{place}").write_text(told)


def sweep_arguments(data: str) -> list[str]:
    """The words of a small sweep, but for its directory."""
    words = ["sweep", "--data", data, "--seeds", "0", "1", "2", "3", "--betas", "0.1", "0.5"]
    words += ["--preset", "paper", "--trainer.cpu", "--evaluation.episodes=1"]
    for stage in INTERRUPTED:
        words += [f"--{stage}.steps=9", f"--{stage}.batch-size=32", f"--{stage}.width=16"]
    return [*words, "--trainer.log-every=3", "--run-dir"]


def sweep_interrupted(config: TrainConfig, run_dir: Path) -> None:
    """Each process receives a signal of its own, another one when they go on, and leaves it."""
    place = PartialState().process_index
    for stages in (("critic", "behavior"), ("behavior", "policy")):
        progress = signal_at(stages[place], 4)
        # The processes beside the first tell nobody of their steps.
        with mock.patch.object(division, "no_progress", progress), suppress(InterruptedRun):
            sweep(config, run_dir, grid=GRID, stages=INTERRUPTED, progress=progress)


def begin_in_one_part(config: TrainConfig, run_dir: Path) -> None:
    """One process begins a divided sweep, whose only part leaves nothing for a second one."""
    (run_dir / "parts/1-of-1/critic").mkdir(parents=True)
    with suppress(InterruptedRun):
        sweep(config, run_dir, grid=GRID, stages=INTERRUPTED, progress=signal_at("critic", 2))


def full_disk(*given: object, **named: object) -> None:
    """What a writer does in one process alone."""
    raise RunError("cannot write it: No space left on device")


def train_on_a_full_disk(data: str, run_dir: Path) -> None:
    """The main process cannot write in one place after the other."""
    config = configuration(data)
    config = replace(config, evaluation=replace(config.evaluation, episodes=0))
    config = replace(config, trainer=replace(config.trainer, checkpoint_every=50))
    said, first = [], PartialState().is_main_process
    for place, name in PLACES:
        before = getattr(place, name)
        if first:
            setattr(place, name, full_disk)
        try:
            train(config, run_dir, stages=["critic"])
        except RunError as error:
            said.append(str(error))
        finally:
            setattr(place, name, before)
    (run_dir / f"said-{PartialState().process_index}.json").write_text(json.dumps(said))


def main() -> None:
    """Train the stages, runs and sweeps, whole, interrupted and without room."""
    torch.set_num_threads(1)
    data, out, swept = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    train_stages(out / "stages")
    train_stages(out / "compiled", ["critic"], compiled=True)
    train_stages(out / "begun", stop=30)
    train_stages(out / "begun by one")
    train_on_a_full_disk(data, out / "full")
    train_interrupted(data, out / "run")
    config = RunDirectory(swept).read_config()
    sweep_interrupted(config, out / "stopped")
    with mock.patch.object(Accelerator, "end_training"):
        sweep(config, out / "few parts", grid=GRID, stages=INTERRUPTED)
    # The last one: processes part where training ends.
    if command_line([*sweep_arguments(data), str(out / "sweep")]):
        raise SystemExit("the sweep failed")


if __name__ == "__main__":
    main()
