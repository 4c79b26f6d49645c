"""The training loop, the same for every stage."""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from accelerate import Accelerator
from torch import Tensor

from scoreregs_offline_rl.data.packed import PackedRows
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.randoms import NEWEST_DRAWS, process_slice
from scoreregs_offline_rl.stages.stage import Stage
from scoreregs_offline_rl.training.checkpoints import Checkpoints
from scoreregs_offline_rl.training.compilation import choose_program
from scoreregs_offline_rl.training.inputs import Inputs, Members, SeedInputs, StackedInputs
from scoreregs_offline_rl.training.interruption import InterruptedRun, SignalWatch, watch_signals
from scoreregs_offline_rl.training.lost_members import clear_lost, finite_metrics
from scoreregs_offline_rl.training.metrics import MetricsFile, RunningMean
from scoreregs_offline_rl.training.settings import TrainerConfig
from scoreregs_offline_rl.training.stage_files import (
    StageReport,
    identity_of,
    is_finished,
    load_stage,
    save_stage,
)
from scoreregs_offline_rl.training.step import TrainingStep

__all__ = ["Progress", "StageMonitor", "Trainer", "no_progress"]

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called after every step with (stage, steps done, steps in all, latest metrics)."""
StageMonitor = Callable[[int], dict[str, float]]
"""Called with the steps done at the logging interval, for further metrics."""
# Several processes stop at the same step, which they agree on this often: it costs a reduction.
_AGREE_EVERY = 50


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
            loop = _Loop(stage, folder, steps, steps_before, monitor or (lambda step: {}), labels)
            loop = replace(loop, separate=labels if keep_others else ())
            inputs = self._inputs(stage, data, batch_size, rows, weights, members)
            report = self._train(loop, inputs, watch)
            if loop.separate:
                lost = loop.lost | set(clear_lost(stage, labels))
                report = replace(report, lost=sorted(lost))
            self.keep(stage, folder, report)
            if self._agreed(watch):
                raise InterruptedRun(stage.name, steps, steps, _number(watch))
        return report

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
        if self._accelerator.is_main_process:
            save_stage(stage, folder, report)
        self._accelerator.wait_for_everyone()

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
        seeds, packed = (self._seed,) if members is None else members.seeds, PackedRows(data)
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

    def _train(
        self,
        loop: "_Loop",
        inputs: Inputs,
        watch: SignalWatch,
    ) -> StageReport:
        accelerator, config, name, steps = self._accelerator, self._config, loop.name, loop.steps
        one_step = TrainingStep(loop.stage, inputs, accelerator)
        folder = loop.folder / "checkpoints"
        checkpoints = Checkpoints(folder, accelerator, keep=config.keep_checkpoints)
        log = MetricsFile(loop.folder / "metrics.jsonl")
        mean, latest, step, seconds = RunningMean(accelerator, loop.labels), {}, 0, 0.0
        lost = loop.lost
        if state := checkpoints.load_newest():
            step, seconds, latest = state["step"], state["seconds"], state["latest"]
            mean.load(state["mean"])
            lost |= set(state.get("lost", ()))
            logger.info("%s: going on from step %d of %d", name, step, steps)
        if accelerator.is_main_process:
            log.truncate(step)
        self._start_trackers(loop.steps_before + step)
        start = time.perf_counter() - seconds
        alone = accelerator.num_processes == 1 and accelerator.scaler is None
        program = choose_program(one_step, config.compile, steps, loop.folder, alone=alone)
        while step < steps:
            mean.add(one_step(step), one_step.names)
            step += 1
            if step % config.log_every == 0 or step == steps:
                latest = finite_metrics(name, step, mean.mean(), loop.separate, lost)
                mean.reset()
                if lost:
                    clear_lost(loop.stage, loop.separate)
                if accelerator.is_main_process:
                    found = loop.monitor(step)
                    latest |= finite_metrics(name, step, found, loop.separate, lost)
                self._log(loop, log, step, latest, time.perf_counter() - start)
            stop = step < steps and self._stopping(watch, step)
            if stop or step % config.checkpoint_every == 0:
                seconds = time.perf_counter() - start
                left = {"latest": latest, "mean": mean.state(), "lost": sorted(lost)}
                checkpoints.save(step, {"seconds": seconds, **left})
            self._progress(name, step, steps, latest)
            if stop:
                one_step.release()
                raise InterruptedRun(name, step, steps, _number(watch))
        seconds = time.perf_counter() - start
        one_step.release()
        return StageReport(
            steps,
            seconds,
            steps / seconds,
            latest,
            compile_seconds=program.compile_seconds,
            identity=identity_of(loop.stage),
        )

    def _stopping(self, watch: SignalWatch, step: int) -> bool:
        alone = self._accelerator.num_processes == 1
        return (alone or step % _AGREE_EVERY == 0) and self._agreed(watch)

    def _agreed(self, watch: SignalWatch) -> bool:
        """Returns whether a signal came to any process; each must ask at the same step."""
        if self._accelerator.num_processes == 1:
            return watch.received is not None
        if watch.received is not None:
            self._accelerator.set_trigger()
        return self._accelerator.check_trigger()

    def _start_trackers(self, step: int) -> None:
        accelerator = self._accelerator
        if self._config.log_with and not accelerator.trackers:
            # Steps that were logged after the checkpoint are logged again.
            purge = {"tensorboard": {"purge_step": step + 1}}
            accelerator.init_trackers("scoreregs-offline-rl", dict(self._settings), purge)

    def _log(
        self, loop: "_Loop", log: MetricsFile, step: int, metrics: dict[str, float], seconds: float
    ) -> None:
        if self._accelerator.is_main_process:
            log.append({"step": step, "seconds": round(seconds, 3), **metrics})
        named = {f"{loop.name}/{name}": value for name, value in metrics.items()}
        self._accelerator.log(named, step=loop.steps_before + step)


@dataclass(frozen=True, eq=False)
class _Loop:
    """What is trained, and where it is kept."""

    stage: Stage
    folder: Path
    steps: int
    steps_before: int
    monitor: StageMonitor
    labels: tuple[str, ...]
    separate: tuple[str, ...] = ()
    lost: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.stage.name


def _number(watch: SignalWatch) -> int:
    return signal.SIGINT if watch.received is None else watch.received
