"""What every test shares."""

import gc

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Results do not depend on the cores, and parallel tests stay out of each other's way."""
    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Leave what was imported out of collections of garbage.

    Every stage of a run asks for one, which is half a second with all tests loaded.
    """
    gc.collect()
    gc.freeze()
