"""The training loop, the same for every stage."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from accelerate import Accelerator

from scoreregs_offline_rl.checkpoints import Checkpoints
from scoreregs_offline_rl.configuration import TrainerConfig
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors, save_json, save_tensors
from scoreregs_offline_rl.metrics import MetricsFile, RunningMean
from scoreregs_offline_rl.randoms import EpochSampler, generator_for, process_slice
from scoreregs_offline_rl.stage import Metrics, Stage
from scoreregs_offline_rl.transitions import Transitions

__all__ = ["Progress", "StageReport", "Trainer", "no_progress"]

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called after every step with (stage, steps done, steps in all, latest metrics)."""


def no_progress(stage: str, step: int, steps: int, metrics: dict[str, float]) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class StageReport:
    """How a finished stage went.

    Attributes:
        steps: Gradient steps.
        seconds: Wall-clock time of training, over all its interruptions.
        steps_per_second: Their ratio.
        metrics: The last line of metrics.
    """

    steps: int
    seconds: float
    steps_per_second: float
    metrics: dict[str, float]


@final
class Trainer:
    """Runs stages under Accelerate: placement, precision, processes, checkpoints, trackers.

    Every step depends on (seed, stage, step) alone: a stage that is interrupted goes on from its
    newest checkpoint as if it had never stopped, bit for bit on the CPU. The loop waits for the
    device only at the logging interval and at checkpoints.

    Args:
        accelerator: Owns the processes and the device; its schedule steps must be ours, that is
            `Accelerator(step_scheduler_with_optimizer=False)`.
        config: Intervals.
        seed: Seed of batches and noise.
        progress: Told of every step, in the main process.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        config: TrainerConfig,
        *,
        seed: int,
        progress: Progress = no_progress,
    ) -> None:
        self._accelerator = accelerator
        self._config = config
        self._seed = seed
        self._progress = progress if accelerator.is_main_process else no_progress
        self._steps_before = 0

    def run(
        self, stage: Stage, data: Transitions, *, steps: int, batch_size: int, folder: Path
    ) -> StageReport:
        """Train a stage in place, or load it where the folder holds it finished.

        Args:
            stage: Its networks are left trained, on the accelerator's device.
            data: Scaled transitions, on that device.
            steps: Gradient steps.
            batch_size: Rows of a step over all processes, a multiple of their number.
            folder: Where weights, metrics and checkpoints go.

        Raises:
            RunError: The batch fits neither data nor processes, or a metric stops being finite.
        """
        if (folder / "report.json").exists():
            logger.info("%s: finished before, loading it from %s", stage.name, folder)
            stage.load_state_dict(load_tensors(folder / "weights.safetensors"))
            stage.to(self._accelerator.device)
            report = StageReport(**load_json(folder / "report.json"))
        else:
            report = self._train(stage, data, steps, batch_size, folder)
            if self._accelerator.is_main_process:
                save_tensors(folder / "weights.safetensors", stage.state_dict())
                save_json(folder / "report.json", asdict(report))
            self._accelerator.wait_for_everyone()
        self._steps_before += steps
        return report

    def _train(
        self, stage: Stage, data: Transitions, steps: int, batch_size: int, folder: Path
    ) -> StageReport:
        accelerator, config = self._accelerator, self._config
        one_step = _Step(stage, data, batch_size, self._seed, accelerator)
        checkpoints = Checkpoints(folder / "checkpoints", accelerator, keep=config.keep_checkpoints)
        log = MetricsFile(folder / "metrics.jsonl")
        mean, latest, step, seconds = RunningMean(accelerator), {}, 0, 0.0
        if state := checkpoints.load_newest():
            step, seconds, latest = state["step"], state["seconds"], state["latest"]
            mean.load(state["mean"])
            logger.info("%s: going on from step %d of %d", stage.name, step, steps)
        if accelerator.is_main_process:
            log.truncate(step)
        start = time.perf_counter() - seconds
        while step < steps:
            mean.add(one_step(step))
            step += 1
            if step % config.log_every == 0 or step == steps:
                latest = _finite(stage.name, step, mean.mean())
                mean.reset()
                self._log(log, stage.name, step, latest, time.perf_counter() - start)
            if step % config.checkpoint_every == 0:
                seconds = time.perf_counter() - start
                checkpoints.save(step, {"seconds": seconds, "latest": latest, "mean": mean.state()})
            self._progress(stage.name, step, steps, latest)
        seconds = time.perf_counter() - start
        one_step.release()
        return StageReport(steps, seconds, steps / seconds, latest)

    def _log(
        self, log: MetricsFile, stage: str, step: int, metrics: dict[str, float], seconds: float
    ) -> None:
        if self._accelerator.is_main_process:
            log.append({"step": step, "seconds": round(seconds, 3), **metrics})
        named = {f"{stage}/{name}": value for name, value in metrics.items()}
        self._accelerator.log(named, step=self._steps_before + step)


class _Step:
    """One gradient step of a stage on its part of a global batch."""

    def __init__(
        self, stage: Stage, data: Transitions, batch_size: int, seed: int, accelerator: Accelerator
    ) -> None:
        self._part = process_slice(batch_size, accelerator.process_index, accelerator.num_processes)
        self._sampler = EpochSampler(
            len(data), batch_size, seed=seed, purpose=stage.name, device=accelerator.device
        )
        stage.to(accelerator.device)
        optimizer, scheduler = stage.optimizer()
        self._model, self._optimizer, self._scheduler = accelerator.prepare(
            stage, optimizer, scheduler
        )
        self._stage, self._data, self._seed = stage, data, seed
        self._batch_size, self._accelerator = batch_size, accelerator

    def __call__(self, step: int) -> Metrics:
        """Take the step, counted from 0, and return its metrics."""
        part, accelerator = self._part, self._accelerator
        generator = generator_for(self._seed, self._stage.name, step, accelerator.device)
        randoms = self._stage.draw(self._batch_size, generator)
        batch = self._data.select(self._sampler(step)[part])
        loss, metrics = self._model(batch, {name: rows[part] for name, rows in randoms.items()})
        self._optimizer.zero_grad()
        accelerator.backward(loss)
        self._optimizer.step()
        if self._scheduler is not None and not self._optimizer.step_was_skipped:
            self._scheduler.step()
        self._stage.after_step()
        return metrics

    def release(self) -> None:
        """Give the stage back as it was before it was prepared, with its new weights."""
        self._accelerator.unwrap_model(self._model, keep_fp32_wrapper=False)
        self._accelerator.free_memory()


def _finite(stage: str, step: int, metrics: dict[str, float]) -> dict[str, float]:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise RunError(
                f"got {name} = {value} in the {stage} stage up to step {step}, expected finite "
                f"numbers: lower the learning rate or look at the scale of the rewards"
            )
    return metrics
