"""A trainer that trains nothing: a few steps of each stage tell what all of them take."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import final

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.stages.stage import Stage
from scoreregs_offline_rl.training.checkpoints import newest_step
from scoreregs_offline_rl.training.inputs import Members
from scoreregs_offline_rl.training.settings import TrainerConfig
from scoreregs_offline_rl.training.stage_files import StageReport, is_finished
from scoreregs_offline_rl.training.step import TrainingStep
from scoreregs_offline_rl.training.trainer import StageMonitor, Trainer

__all__ = ["Rehearsal", "StageTiming"]

# Of a stage; one step is not counted, since it imports and allocates.
_SECONDS, _FEWEST, _MOST = 0.25, 2, 50


@dataclass(frozen=True)
class StageTiming:
    """What a stage has before it.

    Attributes:
        name: of the stage.
        steps: gradient steps in all.
        done: those that its folder has already; all of them where its weights are there.
        rows: of a step, all members and processes together.
        step_seconds: of a step; 0 where none is left.
        times: how often it is trained at most, as where a temperature is chosen.
    """

    name: str
    steps: int
    done: int
    rows: int
    step_seconds: float
    times: int = 1

    @property
    def seconds(self) -> float:
        """What is left to train."""
        return (self.times * self.steps - self.done) * self.step_seconds


@final
class Rehearsal:
    """Takes the place of a `Trainer`: writes nothing, and leaves random state as it finds it.

    Args:
        accelerator: its own, since a scale of losses that it moves is not to be the training's.
        config: as for the training.
        seed: of rows and noise.
        parts: where the stages of a divided sweep lie, each with its number of seeds.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        config: TrainerConfig,
        *,
        seed: int,
        parts: Mapping[Path, int] = MappingProxyType({}),
    ) -> None:
        self.timings: list[StageTiming] = []
        """What was found, in the order of training."""
        self.next_times = 1
        """How often the next stage is trained at most."""
        self._accelerator, self._parts = accelerator, parts
        self._trainer = Trainer(accelerator, config, seed=seed)
        self._kept: set[Path] = set()

    def run(
        self,
        stage: Stage,
        data: Transitions,
        *,
        steps: int,
        batch_size: int,
        folder: Path,
        rows: Tensor | None = None,
        weights: Tensor | None = None,
        members: Members | None = None,
        monitor: StageMonitor | None = None,
        steps_before: int = 0,
        keep_others: bool = False,
    ) -> StageReport:
        """Times a stage, unless its weights are there; it must not be used for anything else.

        Its arguments are those of `Trainer.run`, its report says nothing.
        """
        del monitor, steps_before, keep_others
        stage.to(self._accelerator.device)
        done, seconds = self._done(folder, steps), 0.0
        if done < steps:
            one_step = self._trainer.stepping(
                stage, data, batch_size=batch_size, rows=rows, weights=weights, members=members
            )
            seconds = self._measure(one_step)
        count = 1 if members is None else len(members.labels)
        times, self.next_times = (self.next_times if done == 0 else 1), 1
        each = batch_size * count
        self.timings.append(StageTiming(stage.name, steps, done, each, seconds, times))
        return StageReport(0, 0.0, 0.0, {})

    def keep(self, stage: Stage, folder: Path, report: StageReport) -> None:
        """Takes note of a stage whose weights come from elsewhere."""
        del stage, report
        self._kept.add(folder)

    def _done(self, folder: Path, steps: int) -> int:
        """Returns the steps that a stage has taken; where it lies in parts, the mean of seeds."""
        if folder in self._kept:
            return steps
        if is_finished(folder) or not self._parts:
            return _steps_in(folder, steps)
        taken = (seeds * _steps_in(p / folder.name, steps) for p, seeds in self._parts.items())
        return sum(taken) // sum(self._parts.values())

    def _measure(self, one_step: TrainingStep) -> float:
        """Returns the seconds of a step, the same in every process."""
        try:
            self._take(one_step, 0)
            taken: list[float] = []
            # Processes take each step together, so that none may go by its own clock.
            alone = self._accelerator.num_processes == 1
            while len(taken) < _FEWEST or (alone and len(taken) < _MOST and sum(taken) < _SECONDS):
                taken.append(self._take(one_step, len(taken) + 1))
        finally:
            one_step.release()
        found = [sum(taken) / len(taken)]
        broadcast_object_list(found)
        return found[0]

    def _take(self, one_step: TrainingStep, step: int) -> float:
        """Takes a step, waits until the device is through with it, and returns the seconds."""
        start = time.perf_counter()
        one_step(step)
        if self._accelerator.device.type != "cpu":
            torch.accelerator.synchronize(self._accelerator.device)
        return time.perf_counter() - start


def _steps_in(folder: Path, steps: int) -> int:
    """Returns the steps that a stage's folder has of so many."""
    return steps if is_finished(folder) else min(newest_step(folder / "checkpoints"), steps)
