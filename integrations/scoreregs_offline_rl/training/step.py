"""One gradient step of a stage: rows, randoms, gradients, optimiser, learning rate, averages."""

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from scoreregs_offline_rl.stages.stage import Randoms, Stage
from scoreregs_offline_rl.training.inputs import Inputs
from scoreregs_offline_rl.training.loss_check import check_outcome
from scoreregs_offline_rl.training.unmoved import SKIPPED

__all__ = ["Gradients", "TrainingStep"]

Gradients = Callable[[Tensor, Randoms], Tensor]
"""Leaves the gradients of a loss in the parameters, and returns the metrics (numbers, ...)."""


@final
class TrainingStep:
    """One gradient step of a stage on its part of a global batch, a function of its number alone.

    Of stacked members the losses are added up: they share no parameters, so that each gets the
    gradient of its own. Nothing in a step waits for the device.

    Args:
        stage: its networks are trained in place, on the accelerator's device.
        inputs: rows and randoms of each step.
        accelerator: knows device, precision and processes.

    Attributes:
        stage: as given.
        inputs: as given.
        parameters: those of the optimiser.
        processes: how many there are, each with its part of the batch.
        scaled: whether the loss is, as float16 needs.
        lost: places of members that must not have the others' scaled gradients skipped.
        gradients: how they come about; eager, unless another way is put in its place.
        names: of the metrics, once there was a step; where the loss is scaled `SKIPPED` is one.
    """

    def __init__(self, stage: Stage[Any], inputs: Inputs, accelerator: Accelerator) -> None:
        stage.to(accelerator.device)
        optimizer, scheduler = stage.optimizer()
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        handler = DistributedDataParallelKwargs(find_unused_parameters=stage.idles)
        accelerator.ddp_handler = handler  # pyright: ignore[reportAttributeAccessIssue]
        self._model, prepared, scheduled = accelerator.prepare(stage, optimizer, scheduler)
        # In the training's precision, without what makes processes wait for each other.
        self._own_model = accelerator.unwrap_model(self._model)
        self.stage, self.inputs, self._accelerator = stage, inputs, accelerator
        self.processes = accelerator.num_processes
        self.names: tuple[str, ...] = ()
        self.gradients: Gradients = self.eager_gradients
        self.scaled, self.lost = accelerator.scaler is not None, list[int]()
        # Accelerate's wrappers look for packages in each step; a scaler alone needs them.
        self._optimizer: Any = prepared if self.scaled else optimizer
        self._scheduler: Any = scheduled if self.scaled else scheduler

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Settings of the optimiser's parameters; a checkpoint that is loaded makes others."""
        return self._optimizer.param_groups

    def __call__(self, step: int) -> Tensor:
        """Takes the step, counted from 0, and returns its metrics, (numbers, ...)."""
        metrics = self.gradients(*self.inputs(step))
        self.update()
        return self._with_skipped(metrics) if self.scaled else metrics

    def loss(self, rows: Tensor, randoms: Randoms, *, alone: bool = True) -> tuple[Tensor, Tensor]:
        """Returns the loss to differentiate, and the metrics in the order of their names.

        Args:
            rows: of this process.
            randoms: likewise.
            alone: whether its gradient is that of this process, not yet the mean of all.
        """
        model = self._own_model if alone else self._model
        outcome = model(self.inputs.batch(rows), randoms)
        if not self.names:
            check_outcome(self.stage.name, outcome, rows.shape[:-2])
        loss, metrics = outcome
        self.names = (*metrics, SKIPPED) if self.scaled else tuple(metrics)
        numbers = torch.stack([metric.float() for metric in metrics.values()])
        return loss.sum() if loss.ndim else loss, numbers.detach()

    def eager_gradients(self, rows: Tensor, randoms: Randoms) -> Tensor:
        """Leaves the gradients in the parameters, of all processes; returns the metrics."""
        loss, numbers = self.loss(rows, randoms, alone=False)
        for parameter in self.parameters:
            parameter.grad = None
        if not self.scaled:
            loss.backward()
            return numbers
        self._accelerator.backward(loss)
        for parameter in self.parameters if self.lost else ():
            if parameter.grad is not None:
                parameter.grad[self.lost] = 0.0
        return numbers

    def update(self, rates: Sequence[Tensor] | None = None) -> None:
        """Moves parameters, learning rate and averages by the gradients that there are.

        Args:
            rates: the learning rate of each group, where it is not the schedule's to say.
        """
        if rates is None:
            self._optimizer.step()
            self._move_rates()
        else:
            kept = [group["lr"] for group in self.groups]
            _set_rates(self.groups, rates)
            self._optimizer.step()
            _set_rates(self.groups, kept)
        if not self._skipped:
            self.stage.after_step()

    def next_rates(self) -> list[float]:
        """Returns the learning rate of each group, and goes on to those of the next step."""
        rates = [float(group["lr"]) for group in self.groups]
        self._move_rates()
        return rates

    def moments(self) -> list[Tensor]:
        """Returns what the optimiser remembers."""
        states = self._optimizer.state.values()
        return [value for state in states for value in state.values()]

    def _with_skipped(self, metrics: Tensor) -> Tensor:
        """Has a last row that is 1 where the scaler skipped the step."""
        return torch.cat([metrics, torch.full_like(metrics[:1], float(self._skipped))])

    @property
    def _skipped(self) -> bool:
        return self.scaled and self._optimizer.step_was_skipped

    def _move_rates(self) -> None:
        if self._scheduler is not None and not self._skipped:
            self._scheduler.step()

    def release(self) -> None:
        """Gives the stage back as it was before it was prepared, with its new weights."""
        self._accelerator.unwrap_model(self._model, keep_fp32_wrapper=False)
        self._accelerator.free_memory()


def _set_rates(groups: list[dict[str, Any]], rates: Sequence[Any]) -> None:
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
