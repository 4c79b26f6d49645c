"""Freed memory that stays with the process: no page is mapped a second time."""

import os
import subprocess
import sys

import pytest

if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
    pytest.skip("this is not the GNU C library", allow_module_level=True)

# Blocks of 8 MB, several at once, as the behavior model's step has them.
STEPS = """
import resource, torch
from scoreregs_offline_rl.training.memory import keep_freed_memory
torch.set_num_threads(1)
print(keep_freed_memory() if {keep} else None)
def step():
    return sum(block.sum() for block in [torch.ones(2048, 1024) for _ in range(8)])
# The first ones settle where blocks lie.
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, keep: bool, **environment: str) -> tuple[str, int]:
    alone = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(
        [sys.executable, "-c", STEPS.format(keep=keep)],
        capture_output=True,
        text=True,
        check=True,
        env=alone | environment,
    )
    answer, count = done.stdout.split()
    return answer, int(count)


def test_pages_are_mapped_once() -> None:
    # By default it is the heap's order, by chance, that decides; below this size no block is kept.
    _, mapped = faults(keep=False, MALLOC_MMAP_THRESHOLD_="131072")
    answer, kept = faults(keep=True)
    assert answer == "True"
    # Ten steps of 64 MB are 160,000 pages of 4 kB.
    assert mapped > 100_000
    # A block may find its place late, once.
    assert kept < mapped / 10


def test_settings_of_the_environment_stay() -> None:
    answer, _ = faults(keep=True, MALLOC_TRIM_THRESHOLD_="131072")
    assert answer == "False"
