"""One gradient step of a stage, the same on one process as on several."""

from typing import final

from accelerate import Accelerator
from torch import Tensor

from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.stages.stage import Metrics, Stage
from scoreregs_offline_rl.training.randoms import EpochSampler, generator_for, process_slice

__all__ = ["TrainingStep"]


@final
class TrainingStep:
    """One gradient step of a stage on its part of a global batch."""

    def __init__(
        self,
        stage: Stage,
        data: Transitions,
        batch_size: int,
        seed: int,
        accelerator: Accelerator,
        rows: Tensor | None,
    ) -> None:
        device = accelerator.device
        self._part = process_slice(batch_size, accelerator.process_index, accelerator.num_processes)
        self._rows = None if rows is None else rows.to(device)
        count = len(data) if rows is None else len(rows)
        self._sampler = EpochSampler(
            count, batch_size, seed=seed, purpose=stage.name, device=device
        )
        stage.to(device)
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
        indices = self._sampler(step)[part]
        batch = self._data.select(indices if self._rows is None else self._rows[indices])
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
