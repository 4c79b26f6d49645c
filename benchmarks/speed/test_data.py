"""Drawing a batch of 256 from a million hopper-sized rows, beside the index alone."""

from typing import Any

import pytest
import torch

from benchmarks.speed.workload import random_rows, waited
from scoreregs_offline_rl import Transitions
from scoreregs_offline_rl.randoms import EpochSampler

ROWS, BATCH = 1_000_000, 256
GROUP = f"a batch of {BATCH} from {ROWS:,} rows"


@pytest.fixture(scope="module")
def rows() -> Transitions:
    return random_rows(ROWS)


def test_ours(benchmark: Any, rows: Transitions) -> None:
    benchmark.group = GROUP
    sampler = EpochSampler(ROWS, BATCH, seed=0, purpose="critic", device=rows.rewards.device)
    counter = iter(range(10**9))
    step = waited(lambda: rows.select(sampler(next(counter))))
    benchmark.pedantic(step, rounds=1000, warmup_rounds=10, iterations=1)


def test_plain_torch(benchmark: Any, rows: Transitions) -> None:
    """With replacement, which is cheaper to draw and covers less of the data."""
    benchmark.group = GROUP
    columns = (
        rows.observations,
        rows.actions,
        rows.rewards,
        rows.next_observations,
        rows.terminals,
    )

    def draw() -> None:
        chosen = torch.randint(ROWS, (BATCH,), device=rows.rewards.device)
        for column in columns:
            column[chosen]

    benchmark.pedantic(waited(draw), rounds=1000, warmup_rounds=10, iterations=1)
