"""Several steps as one CUDA graph: a device that small steps would keep waiting is told once.

Nothing but this file is there for one kind of device. The steps are those of `TrainingStep`; what
changes from step to step lies on the device, where the graph reads it: the count of steps, which it
moves on, the epoch's order, learning rates, and the state of the generators, registered with it.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.randoms import BLOCK, UNROLLED
from scoreregs_offline_rl.training.step import TrainingStep

__all__ = ["UNROLLED", "CapturedSteps", "check_capture"]

_WARM_UP = 3


def check_capture(step: TrainingStep, version: int, *, alone: bool) -> None:
    """Raises `RunError` unless steps can be captured.

    Args:
        step: one of them.
        version: of the draws.
        alone: whether there is one process, without scaled gradients.
    """
    device = step.parameters[0].device.type
    reason = None
    if device != "cuda":
        reason = f"training on {device}"
    elif not alone:
        reason = "several processes, or scaled gradients"
    elif version == 1 or BLOCK % UNROLLED:
        reason = "draws of the first version"
    if reason is not None:
        raise RunError(f"got steps to capture and {reason}: give --trainer.no-capture")


@final
class CapturedSteps:
    """`UNROLLED` steps in a row, from a multiple of it on, captured when they are first taken.

    Args:
        step: takes each of them; its gradients may be compiled ones.
        graph: takes a function that is run again and again, and returns how to; None: a CUDA graph.
    """

    def __init__(
        self,
        step: TrainingStep,
        graph: Callable[[Callable[[], None], TrainingStep], Callable[[], None]] | None = None,
    ) -> None:
        self._step, self._graph = step, graph or _cuda_graph
        device = step.parameters[0].device
        # A fused optimiser takes a rate of 32 bits on a GPU and of 64 on a CPU.
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        shape = UNROLLED, len(step.groups)
        self._rates = torch.zeros(shape, dtype=dtype, device=device)
        self._sums = torch.zeros(0, device=device)
        self._replay: Callable[[], None] | None = None

    def __call__(self, first: int) -> Tensor:
        """Takes the steps from `first` on, and returns the sums of their metrics."""
        inputs = self._step.inputs
        if self._replay is None:
            self._replay = self._graph(self._take, self._step)
            inputs.stand_at(-1)
        inputs.seek(first)
        rates = [self._step.next_rates() for _ in range(UNROLLED)]
        # Of pinned memory: a copy from any other waits for the device.
        on_host = torch.tensor(rates, dtype=self._rates.dtype, pin_memory=self._rates.is_cuda)
        self._rates.copy_(on_host, non_blocking=True)
        self._replay()
        inputs.stand_at(first + UNROLLED)
        return self._sums.clone()

    def _take(self) -> None:
        """Takes the steps, of what the tensors hold."""
        step, found = self._step, []
        for k in range(UNROLLED):
            found.append(step.gradients(*step.inputs.take()))
            step.update(self._rates[k].unbind())
        self._sums = torch.stack(found).sum(0)


def _cuda_graph(take: Callable[[], None], step: TrainingStep) -> Callable[[], None]:
    """Captures a function; what its warm-up does to the state is undone."""
    graph = torch.cuda.CUDAGraph()
    for draws in step.inputs.draws:
        graph.register_generator_state(draws.generator)
    kept = _tensors(step)
    before = [tensor.clone() for tensor in kept]
    stream: Any = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            take()
    torch.cuda.current_stream().wait_stream(stream)
    # Those that the optimiser made in the warm-up began as zeros.
    made = _tensors(step)[len(kept) :]
    with torch.no_grad():
        for tensor, value in zip(kept, before, strict=True):
            tensor.copy_(value)
        for tensor in made:
            tensor.zero_()
    for parameter in step.parameters:
        parameter.grad = None
    with torch.cuda.graph(graph):
        take()
    return graph.replay


def _tensors(step: TrainingStep) -> list[Tensor]:
    """Everything that a step writes to; the optimiser's come last, for they may be made later."""
    state = [*step.stage.parameters(), *step.stage.buffers()]
    return [tensor.detach() for tensor in state] + step.moments()
