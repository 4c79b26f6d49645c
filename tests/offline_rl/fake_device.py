"""A step of every stage on a fake device, whose tensors have shapes and no numbers.

What waits for a number raises there, and so does a tensor that lies on the CPU, or a branch that
depends on the data. CUDA itself cannot be faked by a PyTorch without it: autograd asks for its
library; a device in Python is as little a CPU as a GPU is.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration

sys.path.insert(0, str(Path(__file__).parents[2]))
from accelerate import Accelerator

from scoreregs_offline_rl import STAGES
from scoreregs_offline_rl.training.inputs import SeedInputs
from scoreregs_offline_rl.training.step import TrainingStep
from tests.offline_rl.rl_data import make_transitions
from tests.offline_rl.test_trainer import BATCH, make_stage

DEVICE = "fakegpu"


def move(module: nn.Module) -> None:
    """Puts a module there."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                moved = torch.empty(parameter.shape, dtype=parameter.dtype, device=DEVICE)
                part._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=DEVICE)


def take_a_step(name: str) -> None:
    """Takes a step on the CPU, which checks what is checked once, and one there."""
    stage: Any = make_stage(name)
    inputs = SeedInputs(stage, make_transitions(), BATCH, seed=0, part=slice(None))
    step = TrainingStep(stage, inputs, Accelerator(cpu=True, step_scheduler_with_optimizer=False))
    step(0)
    rows, randoms = inputs(1)
    with FakeTensorMode():
        move(stage)
        given = getattr(stage, "given", None)
        if given is not None and given.value is not None:
            move(given.value.critic)
        for network in () if given is None or given.prior is None else given.prior.networks():
            move(network)
        optimizer, _ = stage.optimizer()
        step.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        step._optimizer = optimizer
        there = {
            key: torch.empty(v.shape, dtype=v.dtype, device=DEVICE) for key, v in randoms.items()
        }
        metrics = torch.empty(0)
        for _ in range(3):
            metrics = step.gradients(torch.empty(rows.shape, device=DEVICE), there)
            step.update()
        found = {metrics.device.type, *(p.device.type for p in step.parameters)}
    if found != {DEVICE}:
        raise SystemExit(f"{name}: {found}")


def main() -> None:
    """Takes the steps and prints whose they were."""
    backend_registration._setup_privateuseone_for_python_backend(DEVICE)
    for name in STAGES:
        take_a_step(name)
    sys.stdout.write(json.dumps([*STAGES]))
    sys.stdout.flush()
    # Autograd keeps a thread for the device, which nobody joins: an interpreter that tidies up may
    # abort over it.
    os._exit(0)


if __name__ == "__main__":
    main()
