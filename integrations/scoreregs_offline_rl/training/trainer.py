"""Stages trained under Accelerate, from their data to their weights."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import final

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from scoreregs_offline_rl.data.packed import PackedRows
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.randoms import NEWEST_DRAWS, process_slice
from scoreregs_offline_rl.stages.stage import Stage
from scoreregs_offline_rl.training.agreement import together
from scoreregs_offline_rl.training.inputs import Inputs, Members, SeedInputs, StackedInputs
from scoreregs_offline_rl.training.interruption import agreed, interruption, watch_signals
from scoreregs_offline_rl.training.loop import Loop, Progress, StageMonitor
from scoreregs_offline_rl.training.lost_members import clear_lost
from scoreregs_offline_rl.training.settings import TrainerConfig
from scoreregs_offline_rl.training.stage_files import (
    StageReport,
    is_finished,
    load_stage,
    save_stage,
)
from scoreregs_offline_rl.training.step import TrainingStep

__all__ = ["Progress", "StageMonitor", "Trainer", "no_progress"]

logger = logging.getLogger(__name__)

NEVER = 2**62
"""Steps after which there is no checkpoint any more."""


def no_progress(stage: str, step: int, steps: int, metrics: dict[str, float]) -> None:
    """Tells nobody."""


@final
class Trainer:
    """Runs stages under Accelerate: placement, precision, processes, checkpoints, trackers.

    Every step depends on (seed, stage, step) alone: a stage that is interrupted goes on from its
    newest checkpoint as if it had never stopped, bit for bit on the CPU. SIGINT and SIGTERM save
    the step that they come in. The loop waits for the device only at the logging interval and at
    checkpoints, and with several processes when they agree whether to stop.

    Args:
        accelerator: owns the processes and the device; its schedule steps must be ours, that is
            `Accelerator(step_scheduler_with_optimizer=False)`.
        config: intervals and trackers.
        seed: seed of batches and noise.
        progress: told of every step, in the main process.
        settings: what trackers show as the run's hyper-parameters.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        config: TrainerConfig,
        *,
        seed: int,
        progress: Progress = no_progress,
        settings: dict[str, bool | str | float | int] | None = None,
    ) -> None:
        self._accelerator = accelerator
        self._config = config
        self._seed = seed
        self._progress = progress if accelerator.is_main_process else no_progress
        self._settings = settings or {}

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
        """Trains a stage in place, or loads it where the folder holds it finished.

        Args:
            stage: its networks are left trained, on the accelerator's device.
            data: scaled transitions, on that device.
            steps: gradient steps.
            batch_size: rows of a step over all processes, a multiple of their number.
            folder: where weights, metrics and checkpoints go.
            rows: those of the data to train on, int64; None: all.
            weights: how often each row of the data is drawn, (N,); None: all alike.
            members: of a stacked stage, with seeds and rows of their own.
            monitor: gives further metrics, in the main process.
            steps_before: steps of the stages before, where trackers count on from.
            keep_others: whether the other members go on where one stops being finite.

        Raises:
            RunError: the batch fits neither data nor processes, or a metric stops being finite.
            InterruptedRun: a signal came; the step is saved.
        """
        if is_finished(folder):
            return self.load(stage, folder)
        with watch_signals() as watch:
            labels = () if members is None else members.labels
            loop = Loop(
                self._accelerator,
                self._config,
                self._progress,
                self._settings,
                stage,
                folder,
                steps,
                steps_before,
                monitor or (lambda step: {}),
                labels,
                batch_size,
                labels if keep_others else (),
            )
            inputs = self._inputs(stage, data, batch_size, rows, weights, members)
            report = loop.run(inputs, watch)
            if loop.separate:
                places = clear_lost(stage, labels, loop.lost)
                report = replace(report, lost=sorted(labels[place] for place in places))
            self.keep(stage, folder, report)
            if agreed(self._accelerator, watch):
                raise interruption(stage.name, steps, steps, watch)
        return report

    def nth_of(self, times: int, done: int, *, trial: bool) -> "Trainer":
        """Returns a trainer for one of several trainings of a stage, which are told as one.

        Args:
            times: how many there are at most.
            done: how many there were before.
            trial: whether it leaves nothing: no checkpoints, and nothing in trackers.
        """

        def tell(stage: str, step: int, steps: int, metrics: dict[str, float]) -> None:
            self._progress(stage, done * steps + step, times * steps, metrics)

        config = self._config
        if trial:
            config = replace(config, log_with=(), checkpoint_every=NEVER)
        settings = {"seed": self._seed, "progress": tell, "settings": self._settings}
        return Trainer(self._accelerator, config, **settings)

    def of_main(self, number: float) -> float:
        """Returns the number of the main process, the same in every process."""
        found = [number]
        broadcast_object_list(found)
        return found[0]

    def on_main(self, write: Callable[[], None]) -> None:
        """Has the main process write something, while the others wait for it."""
        self._accelerator.wait_for_everyone()
        with together():
            if self._accelerator.is_main_process:
                write()

    def load(self, stage: Stage, folder: Path) -> StageReport:
        """Returns the report of a finished stage, loaded onto the accelerator's device.

        Raises:
            RunError: the folder holds no finished stage, or one of other sizes.
        """
        report = load_stage(stage, folder)
        stage.to(self._accelerator.device)
        logger.info("%s: finished before, loaded from %s", stage.name, folder)
        return report

    def keep(self, stage: Stage, folder: Path, report: StageReport) -> None:
        """Writes the weights of a finished stage and its report, which marks it as finished."""
        stage.to(self._accelerator.device)
        with together():
            if self._accelerator.is_main_process:
                save_stage(stage, folder, report)

    def stepping(
        self,
        stage: Stage,
        data: Transitions,
        *,
        batch_size: int,
        rows: Tensor | None = None,
        weights: Tensor | None = None,
        members: Members | None = None,
    ) -> TrainingStep:
        """Returns the step that `run`, whose arguments these are, takes again and again."""
        inputs = self._inputs(stage, data, batch_size, rows, weights, members)
        return TrainingStep(stage, inputs, self._accelerator)

    def _inputs(
        self,
        stage: Stage,
        data: Transitions,
        batch_size: int,
        rows: Tensor | None,
        weights: Tensor | None,
        members: Members | None,
    ) -> Inputs:
        accelerator = self._accelerator
        part = process_slice(batch_size, accelerator.process_index, accelerator.num_processes)
        packed = PackedRows(data, stage.first_rows(data))
        seeds = (self._seed,) if members is None else members.seeds
        chosen = (members and members.rows) or (rows,) * len(seeds)
        inputs = [
            SeedInputs(
                stage,
                packed,
                batch_size,
                seed=seed,
                part=part,
                rows=its_rows,
                weights=weights,
                version=self._config.draws or NEWEST_DRAWS,
            )
            for seed, its_rows in zip(seeds, chosen, strict=True)
        ]
        return inputs[0] if members is None else StackedInputs(inputs, members.each)
