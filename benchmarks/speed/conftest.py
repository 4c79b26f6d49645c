"""The machine, in every result, and the peers' checkouts."""

import os
import platform
from pathlib import Path

import pytest
import torch

from scoreregs_offline_rl.training.memory import keep_freed_memory


@pytest.fixture(scope="session", autouse=True)
def threads() -> None:
    """Pins the threads: SCOREREGS_THREADS, else all cores."""
    torch.set_num_threads(int(os.environ.get("SCOREREGS_THREADS", os.cpu_count() or 1)))


@pytest.fixture(scope="session", autouse=True)
def memory() -> None:
    """Keeps freed memory as training does, for every row: it cannot be taken back in a process."""
    keep_freed_memory()


@pytest.fixture(scope="session")
def paper_checkout() -> Path:
    """The checkout of thu-ml/SRPO that SCOREREGS_SRPO names; its rows are skipped without it."""
    if "SCOREREGS_SRPO" not in os.environ:
        pytest.skip("SCOREREGS_SRPO names no checkout of github.com/thu-ml/SRPO")
    return Path(os.environ["SCOREREGS_SRPO"])


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """Adds what decides a step's time; drops what names the machine."""
    del config
    machine_info.pop("node", None)
    machine_info["torch"] = torch.__version__
    machine_info["threads"] = int(os.environ.get("SCOREREGS_THREADS", os.cpu_count() or 1))
    machine_info["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    machine_info["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    machine_info["python"] = platform.python_version()
