"""The training loop, the same for every stage and for every way to take a step."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from accelerate import Accelerator

from scoreregs_offline_rl.randoms import NEWEST_DRAWS
from scoreregs_offline_rl.stages.stage import Stage
from scoreregs_offline_rl.training.agreement import together
from scoreregs_offline_rl.training.capture import UNROLLED, CapturedSteps, check_capture
from scoreregs_offline_rl.training.checkpoints import Checkpoints
from scoreregs_offline_rl.training.compilation import choose_program
from scoreregs_offline_rl.training.inputs import Inputs
from scoreregs_offline_rl.training.interruption import SignalWatch, agreed, interruption
from scoreregs_offline_rl.training.lost_members import clear_lost, finite_metrics, places_of
from scoreregs_offline_rl.training.metrics import MetricsFile, RunningMean
from scoreregs_offline_rl.training.settings import TrainerConfig
from scoreregs_offline_rl.training.stage_files import StageReport, identity_of
from scoreregs_offline_rl.training.step import TrainingStep
from scoreregs_offline_rl.training.unmoved import (
    skipped_steps,
    tell_skipped,
    tell_unmoved,
    unmoved_rows,
)

__all__ = ["Loop", "Progress", "StageMonitor"]

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called after every step with (stage, steps done, steps in all, latest metrics)."""
StageMonitor = Callable[[int], dict[str, float]]
"""Called with the steps done at the logging interval, for further metrics."""
# Several processes stop at the same step, which they agree on this often: it costs a reduction.
_AGREE_EVERY = 50


@final
@dataclass(frozen=True, eq=False)
class Loop:
    """The steps of a stage, from its newest checkpoint to its last one.

    Attributes:
        accelerator: owns processes and device.
        config: how the steps are run.
        progress: told of every step, or of several that were one graph.
        settings: what trackers show.
        stage: is trained.
        folder: where metrics and checkpoints go.
        steps: in all.
        steps_before: where trackers count on from.
        monitor: gives further metrics.
        labels: of the members, where there are several.
        batch_size: rows of a step of each, over all processes.
        separate: of the members of a sweep, where the others go on when one is lost.
        lost: of those that are.
        unmoved: rows that did not move so far, by their member's label.
    """

    accelerator: Accelerator
    config: TrainerConfig
    progress: Progress
    settings: Mapping[str, bool | str | float | int]
    stage: Stage[Any]
    folder: Path
    steps: int
    steps_before: int
    monitor: StageMonitor
    labels: tuple[str, ...]
    batch_size: int
    separate: tuple[str, ...] = ()
    lost: set[str] = field(default_factory=set)
    unmoved: dict[str, int] = field(default_factory=dict)

    def run(self, inputs: Inputs, watch: SignalWatch) -> StageReport:
        """Takes the steps and returns how it went.

        Raises:
            RunError: a metric stops being finite, or steps cannot be run as the settings ask.
            InterruptedRun: a signal came; the step is saved.
        """
        accelerator, config, name, steps = (
            self.accelerator,
            self.config,
            self.stage.name,
            self.steps,
        )
        one_step = TrainingStep(self.stage, inputs, accelerator)
        folder = self.folder / "checkpoints"
        checkpoints = Checkpoints(folder, accelerator, keep=config.keep_checkpoints)
        log = MetricsFile(self.folder / "metrics.jsonl")
        mean, latest = RunningMean(accelerator, self.labels), {}
        step, seconds, skipped = 0, 0.0, 0
        if kept := checkpoints.load_newest():
            step, seconds, latest = kept["step"], kept["seconds"], kept["latest"]
            mean.load(kept["mean"])
            self.lost.update(kept.get("lost", ()))
            self.unmoved.update(kept.get("unmoved", {}))
            skipped = kept.get("skipped", 0)
            one_step.lost = places_of(self.lost, self.separate)
            self.stage.resumed()
            logger.info("%s: going on from step %d of %d", name, step, steps)
        with together():
            if accelerator.is_main_process:
                log.truncate(step)
            self._start_trackers(step)
        start = time.perf_counter() - seconds
        alone = accelerator.num_processes == 1 and accelerator.scaler is None
        program = choose_program(one_step, config.compile, steps, self.folder)
        several = self._captured(one_step, alone=alone)
        while step < steps:
            if several is not None and self._whole(step):
                mean.add(several(step), one_step.names, UNROLLED)
                step += UNROLLED
            else:
                mean.add(one_step(step), one_step.names)
                step += 1
            if step % config.log_every == 0 or step == steps:
                latest = self._finite(step, mean.mean())
                self._count_unmoved(step, mean.count, latest)
                if one_step.scaled and (found := skipped_steps(latest, mean.count)):
                    tell_skipped(name, (step - mean.count + 1, step), found)
                    skipped += found
                mean.reset()
                if self.lost:
                    clear_lost(self.stage, self.separate, self.lost)
                    one_step.lost = places_of(self.lost, self.separate)
                with together():
                    if accelerator.is_main_process:
                        latest |= self._finite(step, self.monitor(step))
                    self._log(log, step, latest, time.perf_counter() - start)
            stop = step < steps and self._stopping(watch, step)
            if stop or step % config.checkpoint_every == 0:
                seconds = time.perf_counter() - start
                state: dict[str, object] = {"seconds": seconds, "latest": latest}
                state |= {"mean": mean.state(), "lost": sorted(self.lost)}
                state |= {"unmoved": self.unmoved, "skipped": skipped}
                checkpoints.save(step, state)
            self.progress(name, step, steps, latest)
            if stop:
                one_step.release()
                raise interruption(name, step, steps, watch)
        seconds = time.perf_counter() - start
        one_step.release()
        return StageReport(
            steps,
            seconds,
            steps / seconds,
            latest,
            compile_seconds=program.compile_seconds,
            identity=identity_of(self.stage),
            unmoved=self.unmoved,
            skipped=skipped,
        )

    def _finite(self, step: int, metrics: dict[str, float]) -> dict[str, float]:
        return finite_metrics(self.stage.name, step, metrics, self.separate, self.lost)

    def _count_unmoved(self, step: int, steps: int, metrics: dict[str, float]) -> None:
        rows = steps * self.batch_size
        found = unmoved_rows(metrics, rows, self.lost)
        if found:
            tell_unmoved(self.stage.name, (step - steps + 1, step), found, rows)
        for label, count in found.items():
            self.unmoved[label] = self.unmoved.get(label, 0) + count

    def _captured(self, step: TrainingStep, *, alone: bool) -> CapturedSteps | None:
        if self.config.capture and self.stage.phase is not None:
            logger.info("%s: not captured, its steps are not alike", self.stage.name)
        if not self.config.capture or self.stage.phase is not None:
            return None
        check_capture(step, self.config.draws or NEWEST_DRAWS, alone=alone)
        return CapturedSteps(step)

    def _whole(self, step: int) -> bool:
        """Returns whether the steps of a graph begin here, and nothing is due within them."""
        left = (
            every - step % every for every in (self.config.log_every, self.config.checkpoint_every)
        )
        return step % UNROLLED == 0 and min(self.steps - step, *left) >= UNROLLED

    def _stopping(self, watch: SignalWatch, step: int) -> bool:
        alone = self.accelerator.num_processes == 1
        return (alone or step % _AGREE_EVERY == 0) and agreed(self.accelerator, watch)

    def _start_trackers(self, step: int) -> None:
        if self.config.log_with and not self.accelerator.trackers:
            # Steps that were logged after the checkpoint are logged again.
            purge = {"tensorboard": {"purge_step": self.steps_before + step + 1}}
            self.accelerator.init_trackers("scoreregs-offline-rl", dict(self.settings), purge)

    def _log(self, log: MetricsFile, step: int, metrics: dict[str, float], seconds: float) -> None:
        if self.accelerator.is_main_process:
            log.append({"step": step, "seconds": round(seconds, 3), **metrics})
        named = {f"{self.stage.name}/{name}": value for name, value in metrics.items()}
        if self.config.log_with:
            self.accelerator.log(named, step=self.steps_before + step)
