"""What every test shares."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Keeps results independent of the machine's cores, and parallel tests out of each other's way."""
    torch.set_num_threads(1)
