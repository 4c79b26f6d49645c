"""Stateless randomness."""

from collections import Counter

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from scoreregs_offline_rl import CriticConfig, randoms
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.randoms import (
    BLOCK,
    UNROLLED,
    EpochSampler,
    StepDraws,
    generator_for,
    process_slice,
    seeded,
)
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.training.inputs import SeedInputs
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions
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


@pytest.mark.parametrize("batch_size", [60, 25, 8])
@pytest.mark.parametrize("warm", [0.0, 0.1])
def test_the_rows_of_a_step_follow_from_a_count_on_the_device(batch_size, warm):
    """One graph of the count has those of all steps, with orders of 1, 2 and 7 steps."""
    stage = CriticStage(OBSERVATION, ACTION, CriticConfig(steps=100, width=4, warm_start=warm))
    data, chosen = make_transitions(90), torch.arange(20, 80)
    inputs, again = (
        SeedInputs(stage, data, batch_size, seed=0, part=slice(None), rows=chosen) for _ in range(2)
    )
    expected = [again(step)[0] for step in range(5 * UNROLLED)]
    graph = make_fx(lambda count: inputs.indices(count))(torch.zeros(1, dtype=torch.int64))
    # A step in the middle, as after a resume, and back.
    for first in (0, UNROLLED, 4 * UNROLLED, 2 * UNROLLED + 3):
        inputs.seek(first)
        for step in range(first, first + UNROLLED):
            assert inputs.packed.select(graph(torch.tensor([step]))).equal(expected[step])
            assert inputs.take()[0].equal(expected[step])


@pytest.mark.parametrize("weights", [None, torch.ones(60)])
def test_steps_in_a_row_need_no_word_from_the_host(monkeypatch, weights):
    stage, data = make_stage("behavior"), make_transitions(60)
    inputs, again = (
        SeedInputs(stage, data, 25, seed=0, part=slice(4, 9), weights=weights) for _ in range(2)
    )
    expected = [again(step) for step in range(BLOCK, BLOCK + UNROLLED)]
    inputs.seek(BLOCK)
    monkeypatch.setattr(randoms, "_hashed", None)
    taken = [inputs.take() for _ in range(UNROLLED)]
    torch.testing.assert_close(taken, expected, rtol=0, atol=0)


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
