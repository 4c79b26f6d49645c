"""What a result says of where it was made."""

import os
import platform
from importlib import metadata
from typing import Any

import torch

__all__ = ["machine"]


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
