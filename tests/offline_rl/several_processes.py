"""What every process of `test_processes` does: `torchrun ... several_processes.py DATA OUT`."""

import json
import os
import signal
import sys
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState

from scoreregs_offline_rl import (
    AWRConfig,
    BehaviorConfig,
    CriticConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.randoms import seeded
from scoreregs_offline_rl.runs import directory, run
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.stages.awr import AWRStage
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage, TwinValue
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.stacking import stack
from scoreregs_offline_rl.stages.stage import Given, Stage
from scoreregs_offline_rl.training import checkpoints, trainer
from scoreregs_offline_rl.training.inputs import Members
from scoreregs_offline_rl.training.interruption import InterruptedRun
from scoreregs_offline_rl.training.metrics import MetricsFile
from scoreregs_offline_rl.training.trainer import Trainer
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions

STEPS, BATCH = 100, 16
SIZES = (OBSERVATION, ACTION)
# Where the main process writes alone, in the order in which a run comes there.
PLACES = (
    (directory, "save_json"),
    (MetricsFile, "append"),
    (checkpoints, "save_json"),
    (trainer, "save_stage"),
    (run, "save_json"),
)


def make_stages() -> dict[str, Stage]:
    """Every stage, the behavior model with and without dropout, in the default precision."""
    with seeded(0, "test"):
        critic = CriticStage(*SIZES, CriticConfig(width=16))
        dropped = BehaviorStage(*SIZES, BehaviorConfig(width=16, dropout=0.25))
        undropped = BehaviorStage(*SIZES, BehaviorConfig(width=16, dropout=0.0))
        members = [BehaviorStage(*SIZES, BehaviorConfig(width=16)) for _ in range(2)]
        policies = [DiracPolicy(*SIZES, width=16) for _ in range(2)]
    value, config = TwinValue(critic.critic), PolicyConfig(steps=STEPS)
    return {
        "critic": critic,
        "behavior": undropped,
        "behavior with dropout": dropped,
        "stacked behavior": stack(members),
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
    out: Path, names: Collection[str] | None = None, *, compiled: bool | None = None
) -> None:
    """Train every stage, or some, in float64, each into a folder of its own."""
    torch.set_default_dtype(torch.float64)
    try:
        data = in_double(make_transitions())
        config = TrainerConfig(log_every=20, checkpoint_every=1000, compile=compiled)
        stages = make_stages()
        for name in stages if names is None else names:
            stage = stages[name]
            accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
            one, members = Trainer(accelerator, config, seed=0), None
            if name == "stacked behavior":
                members = Members(labels=("one", "two"), seeds=(1, 2))
            one.run(stage, data, steps=STEPS, batch_size=BATCH, folder=out / name, members=members)
    finally:
        torch.set_default_dtype(torch.float32)


def configuration(data: str) -> TrainConfig:
    """A small run without evaluation."""
    return TrainConfig(
        data=data,
        beta=0.1,
        critic=CriticConfig(steps=130, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=20, batch_size=32, width=16),
        policy=PolicyConfig(steps=20, batch_size=32, width=16),
        trainer=TrainerConfig(log_every=10, checkpoint_every=10_000, cpu=True),
    )


def train_interrupted(data: str, run_dir: Path) -> None:
    """One of the processes receives a signal at step 60; then all of them go on."""

    def progress(stage: str, step: int, steps: int, metrics: dict[str, float]) -> None:
        if (stage, step) == ("critic", 60):
            os.kill(os.getpid(), signal.SIGTERM)

    config = configuration(data)
    config = replace(config, evaluation=replace(config.evaluation, episodes=0))
    try:
        train(config, run_dir, progress=progress)
    except InterruptedRun as interruption:
        (run_dir / f"stopped-{PartialState().process_index}").write_text(str(interruption.step))
    train(config, run_dir)


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
    """Train the stages, then a run that lacks room, and one that is interrupted."""
    torch.set_num_threads(1)
    out = Path(sys.argv[2])
    train_stages(out / "stages")
    train_stages(out / "compiled", ["critic"], compiled=True)
    train_on_a_full_disk(sys.argv[1], out / "full")
    train_interrupted(sys.argv[1], out / "run")


if __name__ == "__main__":
    main()
