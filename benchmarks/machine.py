"""What a result says of how and where it was made."""

import os
import platform
import shlex
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

__all__ = ["cpu_model", "machine", "public_command"]

# Where Linux describes its processors.
_PROCESSORS = Path("/proc/cpuinfo")


def public_command(module: str, words: Sequence[str]) -> str:
    """Returns the command that runs a module, without the folders of this machine.

    Example:
        >>> public_command("benchmarks.speed.memory", ["--run-dir", "/home/me/runs", "--rows", "9"])
        'python -m benchmarks.speed.memory --run-dir runs --rows 9'
    """
    public = [Path(word).name if "/" in word else word for word in words]
    return shlex.join(["python", "-m", module, *public])


def cpu_model(processors: Path = _PROCESSORS) -> str:
    """Returns what the CPU is called by its maker; "unknown" where the system does not say.

    Args:
        processors: a file of lines `name : value`, as Linux has it.
    """
    lines = processors.read_text().splitlines() if processors.exists() else []
    found = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return " ".join((found or [platform.processor()])[0].split()) or "unknown"


def machine() -> dict[str, Any]:
    """Returns versions, the CPU's model, cores and accelerator; nothing that names the machine."""
    packages = ("torch", "numpy", "accelerate", "diffusers", "gymnasium", "mujoco")
    return {
        "versions": {"python": platform.python_version()}
        | {package: metadata.version(package) for package in packages},
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "cpu": cpu_model(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        },
    }
