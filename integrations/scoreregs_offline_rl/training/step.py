"""One gradient step of a stage, the same on one process as on several."""

from typing import final

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from scoreregs_offline_rl.stages.stage import Metrics, Stage
from scoreregs_offline_rl.training.inputs import Inputs

__all__ = ["TrainingStep"]


@final
class TrainingStep:
    """One gradient step of a stage on its part of a global batch.

    Of stacked members the losses are added up: they share no parameters, so that each gets the
    gradient of its own.
    """

    def __init__(self, stage: Stage, inputs: Inputs, accelerator: Accelerator) -> None:
        stage.to(accelerator.device)
        optimizer, scheduler = stage.optimizer()
        handler = DistributedDataParallelKwargs(find_unused_parameters=stage.idles)
        accelerator.ddp_handler = handler  # pyright: ignore[reportAttributeAccessIssue]
        self._model, self._optimizer, self._scheduler = accelerator.prepare(
            stage, optimizer, scheduler
        )
        self._stage, self._inputs, self._accelerator = stage, inputs, accelerator

    def __call__(self, step: int) -> Metrics:
        """Takes the step, counted from 0, and returns its metrics."""
        loss, metrics = self._model(*self._inputs(step))
        self._optimizer.zero_grad()
        self._accelerator.backward(loss.sum() if loss.ndim else loss)
        self._optimizer.step()
        if self._scheduler is not None and not self._optimizer.step_was_skipped:
            self._scheduler.step()
        self._stage.after_step()
        return metrics

    def release(self) -> None:
        """Gives the stage back as it was before it was prepared, with its new weights."""
        self._accelerator.unwrap_model(self._model, keep_fp32_wrapper=False)
        self._accelerator.free_memory()
