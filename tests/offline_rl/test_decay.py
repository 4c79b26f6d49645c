"""The optional decay of critic and behavior model, against the cosine by hand."""

import math

import pytest

from scoreregs_offline_rl import BehaviorConfig, CriticConfig
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage

STEPS, RATE = 8, 2e-3
STAGES = {
    "critic": lambda **o: CriticStage(3, 2, CriticConfig(steps=STEPS, learning_rate=RATE, **o)),
    "behavior": lambda **o: BehaviorStage(
        3, 2, BehaviorConfig(steps=STEPS, learning_rate=RATE, **o)
    ),
}
stages = pytest.mark.parametrize("make", STAGES.values(), ids=STAGES)


@stages
def test_the_rate_falls_to_zero_by_a_cosine(make):
    optimizer, scheduler = make(decay=True).optimizer()
    for step in range(STEPS + 1):
        expected = RATE * (1 + math.cos(math.pi * step / STEPS)) / 2
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-12)
        optimizer.step()
        scheduler.step()


@stages
def test_the_rate_is_constant_unless_asked(make):
    assert make().optimizer()[1] is None
