"""A step's gradients as one compiled graph, where that is faster.

The loss is a function of parameters, rows and randoms, so that one look at it says what it does:
forward and backward pass are recorded together and compiled as one graph, with nothing of Python
left in it. Of stages whose steps differ, each phase has a graph of its own.
"""

import logging
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor
from torch.fx import GraphModule

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.stages.stage import Randoms
from scoreregs_offline_rl.training.agreement import together
from scoreregs_offline_rl.training.step import TrainingStep

__all__ = ["COMPILE_FROM", "CompiledGradients", "Program", "choose_program", "record_gradients"]

logger = logging.getLogger(__name__)

COMPILE_FROM = 20_000
"""Steps of a stage from which on compiling it, a quarter of a minute, may be worth it."""
_RECORD = "program.json"
# Of a trial, and by how much compiled steps have to be faster.
_ROUNDS, _MARGIN = 5, 0.97


@dataclass(frozen=True)
class Program:
    """How a stage's steps are run, kept in its folder so that it goes on in the same way.

    Attributes:
        compiled: whether gradients are those of a compiled graph.
        eager_seconds: of the gradients of a step in the trial; 0 where there was none.
        compiled_seconds: likewise.
        compile_seconds: what compiling took.
    """

    compiled: bool
    eager_seconds: float = 0.0
    compiled_seconds: float = 0.0
    compile_seconds: float = 0.0


@final
class CompiledGradients:
    """The gradients of a step by compiled graphs, one for each phase of the stage.

    Args:
        step: whose loss is recorded, when its phase first comes.
    """

    def __init__(self, step: TrainingStep) -> None:
        self._step = step
        self._graphs: dict[Hashable, Any] = {}

    def own(self, rows: Tensor, randoms: Randoms) -> tuple[Any, ...]:
        """Returns the gradients of this process, None where there is none, and the metrics."""
        phase = self._step.stage.phase
        if phase not in self._graphs:
            graph = record_gradients(self._step, rows, randoms)
            self._graphs[phase] = torch.compile(graph, fullgraph=True, dynamic=False)
        with torch.no_grad():
            return self._graphs[phase](rows, randoms)

    def __call__(self, rows: Tensor, randoms: Randoms) -> Tensor:
        """Leaves the gradients in the parameters, and returns the metrics."""
        *gradients, metrics = self.own(rows, randoms)
        if self._step.processes > 1:
            gradients = _mean_of_processes(gradients)
        for parameter, gradient in zip(self._step.parameters, gradients, strict=True):
            parameter.grad = gradient
        return metrics


def record_gradients(step: TrainingStep, rows: Tensor, randoms: Randoms) -> GraphModule:
    """Returns a step's loss and its gradient as a graph: of (rows, randoms), gradients and metrics.

    Args:
        step: nothing of it changes.
        rows: those of a step.
        randoms: likewise.

    Raises:
        RunError: the loss depends on more than parameters, rows and randoms.
    """
    # Not at the head of the file: it loads the compiler.
    from torch.fx.experimental.proxy_tensor import make_fx

    def gradients(rows: Tensor, randoms: Randoms) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            loss, metrics = step.loss(rows, randoms)
            found = torch.autograd.grad(loss, step.parameters, allow_unused=True)
        pairs = zip(found, step.parameters, strict=True)
        return *(None if g is None else _laid_out_as(p, g) for g, p in pairs), metrics

    # What is checked at a first call alone waits for values, which a graph does not have.
    with _unchanged(step):
        step.loss(rows, randoms)
    with _unchanged(step), _compiling(), torch.no_grad():
        try:
            graph = make_fx(gradients)(rows, randoms)
        except RuntimeError as error:
            raise RunError(
                f"got a {step.stage.name} stage whose loss cannot be recorded "
                f"({str(error).strip().splitlines()[0]}), expected a function of parameters, batch "
                "and randoms: give --trainer.compile False"
            ) from error
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def choose_program(step: TrainingStep, wanted: bool | None, steps: int, folder: Path) -> Program:
    """Has a step compiled where that is wanted, or faster, and returns how it will run.

    Args:
        step: it takes no step here, and its gradients are replaced by compiled ones if so chosen.
        wanted: whether to compile; None: as the folder says, else for many steps, where a short
            trial finds it faster.
        steps: of the stage in all, so that a resumed stage does what it did before.
        folder: of the stage, where the choice is kept.

    Raises:
        RunError: it is wanted, or was done before, and cannot be here.
    """
    kept = folder / _RECORD
    before = Program(**load_json(kept)) if kept.exists() else None
    program = _chosen(step, wanted, steps, before if wanted is None else None)
    # A stage that is eager for its few steps is so again, whatever is there then to compile with.
    settled = before is not None and before.compiled == program.compiled
    by_length = wanted is None and before is None and steps < COMPILE_FROM
    with together():
        if not settled and not by_length and PartialState().is_main_process:
            save_json(kept, asdict(program))
    return program


def _chosen(step: TrainingStep, wanted: bool | None, steps: int, before: Program | None) -> Program:
    """Returns how a step runs, and has it run so."""
    name = step.stage.name
    sure = bool(wanted) or (before is not None and before.compiled)
    short = steps < COMPILE_FROM if before is None else not before.compiled
    if wanted is False or not step.stage.compilable or (short and not sure):
        return Program(compiled=False)
    unsuited = _unsuited(step)
    reason = unsuited or _obstacle(step)
    # A stage that was compiled in one process may go on in several.
    sure = bool(wanted) if unsuited else sure
    if reason is not None:
        if sure:
            raise RunError(
                f"got the {name} stage to compile, which cannot be here ({reason}): "
                f"{'' if unsuited else 'install a C++ compiler, or '}give --trainer.compile False"
            )
        logger.info("%s: not compiled, which cannot be here (%s)", name, reason)
        return Program(compiled=False)
    try:
        program = _try(step, sure=sure)
    except RuntimeError as error:
        if sure:
            raise
        logger.warning("%s: not compiled (%s)", name, str(error).strip().splitlines()[0])
        return Program(compiled=False)
    if program.compiled:
        logger.info("%s: compiled in %.0f seconds", name, program.compile_seconds)
    return program


def _try(step: TrainingStep, *, sure: bool) -> Program:
    """Returns what a trial says, or that it is compiled for sure; sets the step's gradients."""
    compiled, inputs = CompiledGradients(step), step.inputs(0)
    start = time.perf_counter()
    with _unchanged(step):
        _all_compile(compiled, inputs)
        seconds = time.perf_counter() - start
        ways = {"eager": step.eager_gradients, "compiled": compiled}
        times = {way: float("inf") for way in ways}
        for _ in range(0 if sure else _ROUNDS):
            for way, gradients in ways.items():
                start = time.perf_counter()
                gradients(*inputs).sum().item()
                times[way] = min(times[way], time.perf_counter() - start)
    # Processes go one way together: that which is faster for the main one.
    broadcast_object_list(agreed := [times])
    times = agreed[0]
    if not sure and times["compiled"] > _MARGIN * times["eager"]:
        return Program(False, times["eager"], times["compiled"], seconds)
    step.gradients = compiled
    measured = (0.0, 0.0) if sure else (times["eager"], times["compiled"])
    return Program(True, *measured, seconds)


def _all_compile(compiled: CompiledGradients, inputs: tuple[Tensor, Randoms]) -> None:
    """Compiles in every process, or raises in every one: they take their steps together."""
    failure: RuntimeError | None = None
    try:
        compiled.own(*inputs)
    except RuntimeError as error:
        failure = error
    if any(gather_object([failure is not None])):
        raise failure or RuntimeError("another process cannot compile it")


def _mean_of_processes(gradients: list[Tensor | None]) -> list[Tensor | None]:
    """Returns gradients as they are in the mean over all processes, exchanged in one message."""
    given = [gradient for gradient in gradients if gradient is not None]
    together = torch.cat([gradient.flatten() for gradient in given])
    together /= PartialState().num_processes
    torch.distributed.all_reduce(together)
    parts = iter(together.split([gradient.numel() for gradient in given]))
    return [None if g is None else _laid_out_as(g, next(parts).view(g.shape)) for g in gradients]


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient in the parameter's layout, which fused optimisers take for granted."""
    same = gradient.stride() == parameter.stride()
    return gradient if same else gradient.contiguous()


@contextmanager
def _unchanged(step: TrainingStep) -> Iterator[None]:
    """Puts back what a look at a loss changes: buffers of plug-ins that remember."""
    stage = step.stage
    before = {name: (buffer, buffer.clone()) for name, buffer in stage.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in stage.named_buffers():
                buffer.copy_(before[name][1])
        for parameter in step.parameters:
            parameter.grad = None
    for name, buffer in stage.named_buffers():
        if before[name][0] is not buffer:
            raise RunError(
                f"got a {stage.name} stage that puts another tensor in the place of its "
                f"buffer {name}, expected one that writes into it: give --trainer.compile False"
            )


@contextmanager
def _compiling() -> Iterator[None]:
    """Has code that asks told that it is compiled, so that it leaves out what waits for a value."""
    before = torch.compiler._is_compiling_flag
    torch.compiler._is_compiling_flag = True
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


def _unsuited(step: TrainingStep) -> str | None:
    """Returns why a step is not one to compile; None if it is."""
    if step.scaled:
        return "its loss is scaled"
    if step.processes > 1 and any(True for _ in step.stage.buffers()):
        # Processes would have to agree on them in each step, as they do where it is not compiled.
        return "it remembers more than its parameters, in several processes"
    return None


def _obstacle(step: TrainingStep) -> str | None:
    """Returns why PyTorch cannot compile for a step's device; None if it can."""
    device = step.parameters[0].device
    try:
        torch.compile(torch.neg)(torch.ones(2, device=device))
    except RuntimeError as error:
        return str(error).strip().splitlines()[0]
    return None
