"""Steps of every stage on a fake device, whose tensors have shapes and no numbers.

Rows are selected there and randoms drawn there, as on a GPU. What waits for a number raises, and so
does a tensor that lies on the CPU, or a branch that depends on the data. CUDA itself cannot be
faked by a PyTorch without it: autograd asks for its library; a device in Python is as little a CPU
as a GPU is. It has no generators: one of the CPU's stands in, and says that it is the device's.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration

sys.path.insert(0, str(Path(__file__).parents[2]))
from scoreregs_offline_rl.training.step import TrainingStep
from tests.offline_rl.step_cases import CASES, Steps, steps_of

DEVICE = "fakegpu"


class Generator(torch.Generator):
    """A generator of the CPU under the name of a device."""

    def __new__(cls, device: Any = "cpu") -> "Generator":
        """Returns one of the CPU."""
        made: Any = super().__new__(cls)
        made.named = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The device that it was asked for."""
        return self.named  # pyright: ignore[reportAttributeAccessIssue]


def there(tensor: Tensor) -> Tensor:
    """Returns a tensor of that shape there."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=DEVICE)


def move(module: nn.Module) -> None:
    """Puts a module there, with what it holds beside parameters and buffers."""
    for part in module.modules():
        for kept in (part._buffers, vars(part)):
            kept |= {n: there(value) for n, value in kept.items() if isinstance(value, Tensor)}
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(there(parameter), parameter.requires_grad)


def take_steps(name: str) -> None:
    """Takes a step on the CPU, which checks what is checked once, and some there."""
    made = steps_of(name)
    step: Any = made.newest
    step(0)
    with FakeTensorMode():
        for stage in made.stages:
            move(stage)
        optimizer, _ = step.stage.optimizer()
        step.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        step._optimizer = optimizer
        check_refusal(step, made)
        rows, weights = torch.arange(50), torch.empty(60, device=DEVICE)
        for chosen in ({}, {"rows": rows, "weights": weights}):
            step.inputs = made.inputs(DEVICE, **chosen)
            metrics = [step(index) for index in range(1, 3)]
            found = {metrics[0].device.type, *(p.device.type for p in step.parameters)}
            if found != {DEVICE}:
                raise SystemExit(f"{name}: {found}")


def check_refusal(step: TrainingStep, made: Steps) -> None:
    """Sees that rows or randoms of the CPU would have been found out."""
    on_cpu, on_device = made.inputs("cpu"), made.inputs(DEVICE)
    pairs = [(on_cpu(1)[0], on_device(1)[1]), (on_device(1)[0], on_cpu(1)[1])]
    for rows, randoms in pairs[: 2 if pairs[0][1] else 1]:
        try:
            step.gradients(rows, randoms)
        except (RuntimeError, ValueError):
            continue
        raise SystemExit(f"{step.stage.name}: took inputs of the CPU")


def main() -> None:
    """Takes the steps and prints whose they were."""
    backend_registration._setup_privateuseone_for_python_backend(DEVICE)
    torch.Generator = Generator  # pyright: ignore[reportAttributeAccessIssue]
    for name in CASES:
        take_steps(name)
    sys.stdout.write(json.dumps(CASES))
    sys.stdout.flush()
    # Autograd keeps a thread for the device, which nobody joins: an interpreter that tidies up may
    # abort over it.
    os._exit(0)


if __name__ == "__main__":
    main()
