"""The Accelerator of a run, or a message that says why there is none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import AutocastKwargs, InitProcessGroupKwargs

from scoreregs_offline_rl.configuration import to_dict
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.training.memory import keep_freed_memory
from scoreregs_offline_rl.training.settings import TrainerConfig

__all__ = ["alone", "make_accelerator", "tracked_settings"]

# What brings a tracker; another is a package of its name.
_EXTRAS = {"tensorboard": "'scoreregs[trackers]'"}
# What one process does while the others wait is an evaluation, a download or compiling at most. A
# process that ends is noticed at once; one that hangs, after this time.
_PATIENCE = timedelta(days=2)


def make_accelerator(trainer: TrainerConfig, run_dir: Path) -> Accelerator:
    """Returns the accelerator that settings ask for; on the CPU freed memory is kept from now on.

    Args:
        trainer: the settings.
        run_dir: where trackers write.

    Raises:
        RunError: the launched processes do not find each other, the device does not have the
            precision, or a tracker is not installed.
    """
    available = {str(tracker) for tracker in get_available_trackers()}
    if missing := sorted(set(trainer.log_with) - available):
        wanted = [_EXTRAS.get(name, name) for name in missing]
        raise RunError(
            f"got the trackers {missing}, which are not installed: pip install "
            f"{' '.join(wanted)}, or leave them out of --trainer.log-with"
        )
    try:
        accelerator = Accelerator(
            cpu=trainer.cpu,
            mixed_precision=trainer.mixed_precision,
            log_with=list(trainer.log_with) or None,
            project_dir=run_dir,
            # A step of ours is one of the schedule, however many processes share it.
            step_scheduler_with_optimizer=False,
            # Without, one process may wait 10 minutes for another on GPUs, and 30 on CPUs.
            kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE), _autocast()],
        )
    except ValueError as error:
        raise RunError(
            f"got trainer settings that cannot be had here ({error}): change "
            "--trainer.mixed-precision, or start a new process"
        ) from error
    _check_precision(accelerator, trainer)
    _check_processes(accelerator)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    return accelerator


@contextmanager
def alone() -> Iterator[None]:
    """Has the processes of a launch know nothing of each other within the block.

    An `Accelerator` that is made there has the device of its process, and no others to wait for.
    """
    states: list[Any] = [PartialState._shared_state, AcceleratorState._shared_state]
    single = {"distributed_type": DistributedType.NO, "num_processes": 1, "process_index": 0}
    single |= {"local_process_index": 0}
    before = [{name: state[name] for name in single if name in state} for state in states]
    names = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
    launched = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        for state, its in zip(states, before, strict=True):
            state.update({name: single[name] for name in its})
        yield
    finally:
        os.environ.update(launched)
        for state, its in zip(states, before, strict=True):
            state.update(its)


def tracked_settings(config: Any) -> dict[str, bool | str | float | int]:
    """Returns a configuration as trackers take it: one level, plain values, dotted names.

    Example:
        >>> from scoreregs_offline_rl import TrainConfig
        >>> settings = tracked_settings(TrainConfig("a.npz"))
        >>> settings["seed"], settings["policy.times"]
        (0, '[0.02, 0.98]')
    """
    flat: dict[str, bool | str | float | int] = {}

    def add(content: dict[str, Any], prefix: str) -> None:
        for name, value in content.items():
            if isinstance(value, dict):
                add(value, f"{prefix}{name}.")
            else:
                plain = isinstance(value, (bool, str, float, int))
                flat[prefix + name] = value if plain else str(value)

    add(to_dict(config), "")
    return flat


def _autocast() -> AutocastKwargs:
    """Casts weights at each use where PyTorch would use again what it cast without gradients.

    V, which is asked for the target first, would learn nothing.
    """
    weight = torch.ones(1, 1, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            torch.mm(weight, weight)
        learns = torch.mm(weight, weight).requires_grad
    return AutocastKwargs() if learns else AutocastKwargs(cache_enabled=False)


def _check_precision(accelerator: Accelerator, trainer: TrainerConfig) -> None:
    """Raises `RunError` where Accelerate has kept another precision from an earlier run."""
    wanted = trainer.mixed_precision
    wanted = wanted or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if accelerator.mixed_precision != wanted:
        raise RunError(
            f"got a run in the precision {wanted!r} after one in {accelerator.mixed_precision!r}: "
            "start a new process, or give --trainer.mixed-precision"
        )
    if wanted == "fp16" and accelerator.device.type == "cpu":
        raise RunError("got fp16, which needs a GPU: change --trainer.mixed-precision to bf16")


def _check_processes(accelerator: Accelerator) -> None:
    """Raises `RunError` where processes that do not know of each other would write at once."""
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise RunError(
            f"got {launched} processes, of which Accelerate sees {accelerator.num_processes}: "
            "without a GPU for each, give --trainer.cpu"
        )
    if launched > 1 and not torch.distributed.is_initialized():
        raise RunError(
            f"got another run in {launched} processes that have ended their training, which no "
            "longer see each other: start it by a launch of its own"
        )
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    # What `accelerate launch --cpu` leaves behind where it was asked for several processes.
    several = "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ
    if on_cpu and several and accelerator.num_processes == 1:
        raise RunError(
            "got `accelerate launch --cpu` for several processes, which starts one: on CPUs use "
            "--multi_gpu with --trainer.cpu, or torchrun"
        )
