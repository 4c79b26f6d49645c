"""What a result says of how and where it was made."""

import os
import platform
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

__all__ = ["machine", "public_command"]


def public_command(module: str, words: Sequence[str]) -> str:
    """Returns the command that runs a module, without the folders of this machine.

    Example:
        >>> public_command("benchmarks.speed.memory", ["--run-dir", "/home/me/runs", "--rows", "9"])
        'python -m benchmarks.speed.memory --run-dir runs --rows 9'
    """
    public = [Path(word).name if "/" in word else word for word in words]
    return shlex.join(["python", "-m", module, *public])


def machine() -> dict[str, Any]:
    """Returns versions, cores and accelerator; nothing that names the machine."""
    packages = ("torch", "numpy", "accelerate", "diffusers", "gymnasium", "mujoco")
    return {
        "versions": {"python": platform.python_version()}
        | {package: metadata.version(package) for package in packages},
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        },
    }
