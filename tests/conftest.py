"""What every test shares."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Results do not depend on the cores, and parallel tests stay out of each other's way."""
    torch.set_num_threads(1)
