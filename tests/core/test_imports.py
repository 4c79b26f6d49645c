"""Importing the core is cheap and brings in nothing but torch, einops and typing_extensions."""

import json
import subprocess
import sys

import pytest

import scoreregs

SCRIPT = """
import json, sys, time
import torch, einops, typing_extensions
before = set(sys.modules)
start = time.process_time()
import scoreregs, scoreregs.kernel, scoreregs.probability_flow, scoreregs.testing
seconds = time.process_time() - start
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def import_core() -> tuple[float, set[str]]:
    """Processor seconds and top-level packages that the core adds, in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    seconds, modules = json.loads(done.stdout)
    return seconds, {name.partition(".")[0] for name in modules}


@pytest.fixture(scope="module")
def imported() -> tuple[float, set[str]]:
    return import_core()


def test_brings_no_third_party_package(imported):
    """numpy neither, nor any other that torch uses where it is installed."""
    _, packages = imported
    assert packages - set(sys.stdlib_module_names) == {"scoreregs"}


def test_costs_well_under_a_second_beyond_torch(imported):
    """Some 0.1 s on an idle machine; a busy one gets a second chance."""
    assert imported[0] < 0.8 or import_core()[0] < 0.8


def test_exports_what_it_says():
    assert scoreregs.__all__ == sorted(scoreregs.__all__)
    assert all(hasattr(scoreregs, name) for name in scoreregs.__all__)
