"""Critics that begin with discounted returns: closed forms, and Q-learning as ever after them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreregs_offline_rl import CriticConfig, preset
from scoreregs_offline_rl.data.packed import PackedRows
from scoreregs_offline_rl.data.stretches import Stretches, discounted_returns, stretches
from scoreregs_offline_rl.data.transitions import Batch, Transitions
from scoreregs_offline_rl.randoms import EpochSampler, seeded
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.training.inputs import SeedInputs
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions
from tests.offline_rl.step_cases import WARM_STEPS, new_step, state_of

DISCOUNT = 0.9


def chain(length, episodes, *, terminal, reward=1.0):
    """Episodes that walk over as many states, and end for good at the last, or are cut there."""
    place = np.tile(np.arange(length), episodes)
    last = place == length - 1
    return Transitions.from_arrays(
        observations=place[:, None] / length,
        actions=np.zeros((len(place), 1)),
        rewards=np.full(len(place), reward),
        terminals=last & terminal,
        timeouts=last & (not terminal),
        next_observations=(place[:, None] + 1) / length,
    )


def constant_critic(value):
    """Q and V are the same everywhere."""
    stage = CriticStage(1, 1, CriticConfig(width=4, discount=DISCOUNT)).double()
    with torch.no_grad():
        for name, parameter in stage.named_parameters():
            parameter.zero_()
            # The last layer's alone: its one number a member.
            if name.endswith("bias") and parameter.shape[-1] == 1:
                parameter.fill_(value)
    return stage


def in_double(batch):
    columns = {name: value for name, value in vars(batch).items() if value.dtype != torch.bool}
    return replace(batch, **{name: value.double() for name, value in columns.items()})


@pytest.mark.parametrize("terminal", [True, False])
def test_a_target_is_the_return_and_beyond_a_cut_what_v_says(terminal):
    """Of 1 a step: (1 - discount^n) / (1 - discount), or with what V promises after a cut."""
    length, forever = 20, 1 / (1 - DISCOUNT)
    data = chain(length, 3, terminal=terminal)
    data = replace(data, rewards=data.rewards.double())
    left = length - torch.arange(length).repeat(3).double()
    known = (1 - DISCOUNT**left) * forever
    torch.testing.assert_close(discounted_returns(data, DISCOUNT), known)
    found = in_double(stretches(data, DISCOUNT))
    _, metrics = constant_critic(forever)(found, {})
    # Both twins miss a terminal return by as much; a cut one goes on as V says, and is right.
    missed = (forever - known).square().mean() if terminal else torch.zeros(()).double()
    torch.testing.assert_close(metrics["q_loss"], missed)


def test_stretches_row_by_row():
    """Terminal rows that end no trajectory stop a return all the same, as they stop a target."""
    rng = np.random.default_rng(0)
    terminal, cut = rng.random((2, 80)) < 0.1
    columns = rng.normal(size=(80, 2)), rng.uniform(-1, 1, (80, 1)), rng.normal(size=80)
    following = rng.normal(size=(80, 2))
    data = Transitions.from_arrays(*columns, terminal, cut, following, terminals_end=False)
    found = stretches(data, DISCOUNT)
    for row in range(80):
        total, factor, last = 0.0, 1.0, row
        while True:
            total += factor * float(data.rewards[last])
            if data.terminals[last] or data.ends[last]:
                break
            factor, last = factor * DISCOUNT, last + 1
        assert float(found.rewards[row]) == pytest.approx(total, abs=1e-5)
        assert float(found.later[row]) == pytest.approx(factor)
        assert found.terminals[row] == data.terminals[last]
        assert found.next_observations[row].equal(data.next_observations[last])
    assert (data.terminals & ~data.ends).any()
    assert stretches(data, 0.0).rewards.equal(data.rewards)


def test_what_is_far_off_is_learnt_at_once():
    """After as many steps the returns are there, which the next state's value has not yet told."""
    data = chain(20, 1, terminal=True)
    known = discounted_returns(data, 0.98).float()
    errors = {}
    for share in (1.0, 0.0):
        config = CriticConfig(
            steps=150, width=32, learning_rate=1e-2, discount=0.98, warm_start=share, batch_size=20
        )
        with seeded(0, "test"):
            stage = CriticStage(1, 1, config)
        inputs = SeedInputs(stage, data, 20, seed=0, part=slice(None))
        optimizer, _ = stage.optimizer()
        for step in range(config.steps):
            optimizer.zero_grad()
            stage(inputs.batch(inputs(step)[0]), {})[0].backward()
            optimizer.step()
            stage.after_step()
        q = stage.critic.q.mean(data.actions, data.observations).detach()
        errors[share] = float((q - known).abs().max() / known.max())
    assert errors[1.0] < 0.05
    assert errors[0.0] > 0.5


def test_the_rows_of_the_first_steps():
    """The same rows of the data, with their returns; the sampler does not know."""
    stage = CriticStage(OBSERVATION, ACTION, CriticConfig(steps=10, width=4, warm_start=0.3))
    data = make_transitions()
    far = stretches(data, stage.config.discount)
    chosen = torch.arange(5, 60)
    inputs = SeedInputs(stage, data, 8, seed=0, part=slice(2, 6), rows=chosen)
    sampler = EpochSampler(len(chosen), 8, seed=0, purpose=stage.stream())
    for step in range(10):
        rows = chosen[sampler(step)[2:6]]
        found = inputs.batch(inputs(step)[0])
        assert isinstance(found, Stretches)
        expected = far if step < 3 else data
        for name in ("observations", "actions", "rewards", "next_observations", "terminals"):
            assert getattr(found, name).equal(getattr(expected, name)[rows])
        assert found.later.equal(far.later[rows] if step < 3 else torch.ones(4))


def test_without_it_nothing_is_kept_beside_the_data():
    data = make_transitions()
    stage = CriticStage(OBSERVATION, ACTION, CriticConfig(width=4))
    assert stage.first_rows(data) is None
    packed = PackedRows(data, stage.first_rows(data))
    rows = packed.select(packed.at(torch.zeros(1), torch.arange(60)))
    assert rows.shape == (60, 2 * OBSERVATION + ACTION + 2)
    assert type(packed.batch(rows)) is Batch
    for name in ("paper", "paper-exact"):
        assert preset("hopper-medium-v2", name).critic.warm_start == 0


@pytest.mark.parametrize("stacked", ["", "stacked "])
def test_after_it_a_step_is_what_it_is_without(stacked):
    """To the bit, from the same weights."""
    warm, plain = new_step(f"{stacked}warm critic"), new_step(f"{stacked}critic")
    for step in range(WARM_STEPS):
        metrics = warm(step), plain(step)
        if step == 0:
            assert not metrics[0].equal(metrics[1])
    plain.stage.load_state_dict(state_of(warm))
    for its in (warm, plain):
        for moment in its.moments():
            moment.zero_()
    for step in range(WARM_STEPS, WARM_STEPS + 3):
        torch.testing.assert_close(warm(step), plain(step), rtol=0, atol=0)
    torch.testing.assert_close(state_of(plain), state_of(warm), rtol=0, atol=0)
