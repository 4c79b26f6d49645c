"""Stateless randomness."""

from collections import Counter

import pytest
import torch

from scoreregs_offline_rl import randoms
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.randoms import (
    BLOCK,
    EpochSampler,
    StepDraws,
    generator_for,
    process_slice,
    seeded,
)
from scoreregs_offline_rl.training.inputs import SeedInputs
from tests.offline_rl.rl_data import make_transitions
from tests.offline_rl.test_trainer import make_stage


def draw(*arguments):
    return torch.rand(4, generator=generator_for(*arguments))


def test_each_of_seed_purpose_and_step_matters():
    reference = draw(0, "critic", 5)
    assert reference.equal(draw(0, "critic", 5))
    for other in [(1, "critic", 5), (0, "policy", 5), (0, "critic", 6)]:
        assert not reference.equal(draw(*other))


def test_the_stream_is_the_same_on_every_machine():
    assert generator_for(0, "critic", 0).initial_seed() == 3705663745783517764


def test_seeded_restores_the_global_generator():
    before = torch.get_rng_state()
    with seeded(0, "critic"):
        first = torch.rand(3)
    assert torch.get_rng_state().equal(before)
    with seeded(0, "critic"):
        assert torch.rand(3).equal(first)
    with seeded(0, "policy"):
        assert not torch.rand(3).equal(first)


def test_an_epoch_has_every_row_at_most_once():
    sampler = EpochSampler(10, 3, seed=0, purpose="critic")
    epochs = [torch.cat([sampler(3 * epoch + k) for k in range(3)]) for epoch in range(4)]
    for rows in epochs:
        assert len(set(rows.tolist())) == 9
    assert not epochs[0].equal(epochs[1])
    assert set(torch.cat(epochs).tolist()) == set(range(10))


def test_a_step_needs_no_history():
    sampler = EpochSampler(10, 3, seed=0, purpose="critic")
    run_through = [sampler(step) for step in range(12)]
    fresh = EpochSampler(10, 3, seed=0, purpose="critic")
    for step in (11, 4, 0, 7):
        assert fresh(step).equal(run_through[step])


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_that_does_not_fit(batch_size):
    with pytest.raises(RunError, match=r"batch size of .* for 10 rows"):
        EpochSampler(10, batch_size, seed=0, purpose="critic")


def test_slices_cover_the_batch():
    rows = torch.arange(12)
    parts = [rows[process_slice(12, index, 3)] for index in range(3)]
    assert torch.cat(parts).equal(rows)
    with pytest.raises(RunError, match="12 for 5 processes"):
        process_slice(12, 0, 5)


def of(version):
    return StepDraws(lambda g: torch.rand(3, generator=g), 0, "critic", version=version)


@pytest.mark.parametrize("version", [1, 2])
def test_the_draws_of_a_step_need_no_history(version):
    draws = of(version)
    through = [draws(step) for step in range(3 * BLOCK)]
    for step in (BLOCK + 5, BLOCK + 6, 2 * BLOCK, 3, 4, 3, 2 * BLOCK - 1, 2 * BLOCK):
        assert draws(step).equal(through[step])
        assert of(version)(step).equal(through[step])
    assert len({tuple(found.tolist()) for found in through}) == len(through)


def test_the_first_version_has_a_generator_for_each_step():
    assert of(1)(7).equal(torch.rand(3, generator=generator_for(0, "critic", 7)))


def test_the_second_has_one_for_each_block():
    generator = generator_for(0, "critic", 1)
    expected = [torch.rand(3, generator=generator) for _ in range(BLOCK)]
    assert of(2)(2 * BLOCK - 1).equal(expected[-1])


@pytest.mark.parametrize(("weights", "seeded_for"), [(None, {0: 13}), (torch.ones(60), {0: 8})])
def test_a_step_costs_no_seeding(monkeypatch, weights, seeded_for):
    """Of 128 steps: four blocks, and nine epochs of 15 batches, or four blocks of weighted rows."""
    hashed, made = randoms._hashed, Counter()

    def counted(seed, purpose, step):
        made[seed] += 1
        return hashed(seed, purpose, step)

    monkeypatch.setattr(randoms, "_hashed", counted)
    stage, data = make_stage("critic"), make_transitions(60)
    made.clear()
    inputs = SeedInputs(stage, data, 4, seed=0, part=slice(None), weights=weights)
    for step in range(4 * BLOCK):
        inputs(step)
    assert made == seeded_for
