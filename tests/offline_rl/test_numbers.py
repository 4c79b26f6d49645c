"""Numbers that break training quietly: each has its right value, its finding or its refusal."""

import logging
import re

import numpy as np
import pytest
import torch

from scoreregs_offline_rl.data.bounds import action_bounds_of, outlying_actions
from scoreregs_offline_rl.data.scaling import (
    ActionScaling,
    ObservationScaling,
    RewardScaling,
    narrow_returns,
)
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.inspection.inspection import inspect_data
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.scaled import scale

ROWS = 2000


def made(environment=None, **changes):
    rng = np.random.default_rng(0)
    end = np.arange(ROWS) % 100 == 99
    given = {
        "observations": rng.normal(size=(ROWS, 2)),
        "actions": rng.uniform(-1, 1, (ROWS, 1)),
        "rewards": rng.normal(size=ROWS),
        "terminals": np.zeros(ROWS, bool),
        "timeouts": end,
        **changes,
    }
    return Transitions.from_arrays(**given, environment=environment)


def short(actions):
    """One trajectory with these actions."""
    rows = len(actions)
    states, nothing = np.random.default_rng(0).normal(size=(rows, 1)), np.zeros(rows)
    return Transitions.from_arrays(states, actions, nothing, nothing, nothing, states)


def findings(**changes):
    return inspect_data(made(**changes)).findings


def test_there_is_nothing_wrong_with_good_numbers():
    assert findings() == ()


class TestObservations:
    @pytest.mark.parametrize("value", [0.25, 0.0, -3e4, 1e-6, 0.1])
    def test_a_constant_that_moves_by_one_moves_the_input_by_one(self, value):
        column = torch.full((5000, 1), value)
        scaling = ObservationScaling.fit(column)
        assert scaling(column).abs().max() <= 1e-3
        assert float(scaling(column + 1.0).max()) == pytest.approx(1.0, rel=1e-2)

    @pytest.mark.parametrize("unit", [1e-30, 1e-9, 1e-5, 1.0, 1e7])
    def test_a_unit_is_no_matter(self, unit):
        column = unit * torch.randn(5000, 1, generator=torch.Generator().manual_seed(0))
        assert float(ObservationScaling.fit(column)(column).std()) == pytest.approx(1.0, abs=0.01)

    def test_rounding_of_a_constant_is_not_blown_up(self):
        ulps = np.random.default_rng(0).integers(-2, 3, (1000, 1)).astype(np.float32)
        column = np.float32(0.1) * (1 + np.float32(2**-23) * ulps)
        assert len(np.unique(column)) > 1
        scaled = ObservationScaling.fit(torch.from_numpy(column))(torch.from_numpy(column))
        assert float(scaled.abs().max()) < 1e-4

    def test_old_runs_keep_their_floor(self):
        column = 1e-5 * torch.randn(100, 1)
        assert float(ObservationScaling.fit(column, 1e-3).std) == pytest.approx(1e-3)

    def test_a_clock_is_centred_before_it_is_cast(self):
        seconds = 1.7e9 + 0.02 * np.arange(ROWS)
        rows = np.stack([seconds, np.sin(np.arange(ROWS))], 1)
        data = made(observations=rows, timeouts=np.arange(ROWS) == ROWS - 1)
        scaling = ObservationScaling.fit(data.observations)
        scaled = scaling(data.observations)
        assert scaled.dtype == torch.float32
        exact = (rows[:-1] - rows[:-1].mean(0)) / rows[:-1].std(0)
        np.testing.assert_allclose(scaled.numpy(), exact, atol=1e-5)
        step = scaling(data.next_observations) - scaled
        np.testing.assert_allclose(step[:, 0].numpy(), 0.02 / rows[:-1, 0].std(), rtol=1e-2)
        assert re.search(
            r"observations 0 vary.*float32 cannot hold", "".join(findings(observations=rows))
        )

    def test_what_followed_is_as_exact(self):
        near = np.random.default_rng(1).normal(size=(ROWS, 2))
        data = made(observations=near, next_observations=near + np.array([1e9, 0]))
        assert data.observations.dtype == data.next_observations.dtype == torch.float64

    def test_ordinary_columns_stay_in_float32(self):
        rows = np.random.default_rng(1).normal(size=(ROWS, 2)) + np.array([100.0, 0.0])
        assert made(observations=rows).observations.dtype == torch.float32


class TestActions:
    def test_one_glitch_is_named_with_the_bounds_to_give(self):
        actions = np.clip(np.random.default_rng(0).normal(0, 0.4, (ROWS, 1)), -1, 1)
        actions[1234] = 500.0
        data = made(actions=actions.astype(np.float32))
        words = r"action 500 of row 1234 .*--action-low -1 --action-high 1"
        assert re.search(words, "".join(inspect_data(data).findings))
        with pytest.raises(DataError, match=words) as caught:
            action_bounds_of(data)
        assert caught.value.row == 1234
        assert str(outlying_actions(data)).endswith(
            "commanded, give --action-low -1 --action-high 500"
        )
        # With those bounds it trains, and nothing is beyond them.
        scaling = ActionScaling(torch.tensor([-1.0]), torch.tensor([1.0]))
        scaled = scaling.normalize(data.actions)
        assert float(scaled.abs().max()) == 1.0
        others = data.actions[:, 0] != 500.0
        torch.testing.assert_close(scaled[others], data.actions[others])

    @pytest.mark.parametrize("share", [0.0005, 0.002, 0.01, 0.04])
    @pytest.mark.parametrize(
        "glitch",
        [
            lambda rng, count: np.full(count, 500.0),
            lambda rng, count: np.full(count, -32768.0),
            lambda rng, count: rng.choice([-40.0, 40.0], count),
            lambda rng, count: 30.0 + rng.exponential(100.0, count),
        ],
    )
    def test_several_glitches_do_not_set_the_bounds(self, share, glitch):
        rng, rows = np.random.default_rng(0), 4000
        actions = np.clip(rng.normal(0, 0.4, (rows, 2)), -1, 1)
        wrong = np.sort(rng.choice(rows, max(1, int(share * rows)), replace=False))
        actions[wrong, 1] = glitch(rng, len(wrong))
        data = short(actions)
        found = outlying_actions(data)
        assert found is not None
        assert (found.row, found.count) == (wrong[0], len(wrong))
        assert (found.low.tolist(), found.high.tolist()) == ([-1, -1], [1, 1])
        with pytest.raises(DataError, match=r"--action-low .* --action-high") as caught:
            action_bounds_of(data)
        assert caught.value.row == wrong[0]
        assert str(found) in "".join(inspect_data(data).findings)
        assert str(found) in str(caught.value)

    @pytest.mark.parametrize("share", [0.001, 0.008])
    def test_scattered_glitches_do_not_set_the_bounds(self, share):
        """As of noise on a bus: no number is unlike those beside it."""
        rng = np.random.default_rng(0)
        actions = np.clip(rng.normal(0, 0.4, (20_000, 1)), -1, 1)
        wrong = rng.choice(20_000, int(share * 20_000), replace=False)
        actions[wrong, 0] = rng.uniform(-500, 500, len(wrong))
        found = outlying_actions(short(actions))
        assert found is not None
        assert found.count > 0.9 * len(wrong)
        assert float(found.high - found.low) < 10

    def test_the_bounds_to_give_are_taken(self):
        """Those of the others where few lie beyond, else those of all."""
        rng = np.random.default_rng(0)
        for share, expected in ((0.0005, [[-1.0], [1.0]]), (0.02, [[-1.0], [500.0]])):
            actions = np.clip(rng.normal(0, 0.4, (ROWS, 1)), -1, 1).astype(np.float32)
            actions[:: int(1 / share)] = 500.0
            data = short(actions)
            words = str(outlying_actions(data)).split("--action-low ")[1]
            low, high = re.match(r"(\S+) --action-high ([^\s,]+)", words).groups()  # pyright: ignore
            bounds = torch.tensor([float(low)]), torch.tensor([float(high)])
            assert [bound.tolist() for bound in bounds] == expected
            assert float(ActionScaling(*bounds).normalize(data.actions).abs().max()) <= 1.0

    @pytest.mark.parametrize("column", [0, 1, 2])
    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("scale", [1e-4, 1.0, 3e4])
    def test_in_any_column_and_unit(self, column, sign, scale):
        actions = scale * np.random.default_rng(0).normal(size=(ROWS, 3))
        actions[7, column] = sign * 100 * scale
        found = outlying_actions(made(actions=actions))
        assert found is not None
        assert (found.row, found.count) == (7, 1)
        assert bool((found.high < 5 * scale).all() and (found.low > -5 * scale).all())

    def test_where_few_rows_are_there_bounds_that_would_be_refused_are_not_advised(self):
        actions = np.linspace(-1, 1, 60)[:, None]
        actions[3] = 80.0
        found = outlying_actions(short(actions))
        assert "leave these rows out" in str(found)
        assert str(found).endswith("--action-low -1 --action-high 80")

    @pytest.mark.parametrize(
        "draw",
        [
            lambda rng: rng.normal(size=(20_000, 2)),
            lambda rng: rng.laplace(size=(20_000, 2)),
            lambda rng: rng.standard_exponential(size=(20_000, 2)),
            lambda rng: rng.choice([-1.0, 1.0], size=(20_000, 2)),
            lambda rng: rng.choice([-1.0, 1.0], (20_000, 2)) + 0.01 * rng.normal(size=(20_000, 2)),
            lambda rng: rng.standard_t(3, size=(20_000, 2)),
            lambda rng: rng.lognormal(size=(20_000, 2)),
            # Thrusters that are seldom on, and noise in what is recorded of them.
            lambda rng: (
                rng.choice([-1.0, 0.0, 1.0], (20_000, 2), p=[0.02, 0.96, 0.02])
                + 0.02 * rng.normal(size=(20_000, 2))
            ),
            # Exploration: one action in fifty is any.
            lambda rng: np.where(
                rng.uniform(size=(20_000, 1)) < 0.02,
                rng.uniform(-1, 1, (20_000, 2)),
                0.02 * rng.normal(size=(20_000, 2)),
            ),
            # A gripper that is half open, to the last digit but one.
            lambda rng: 0.5 + 0.5 * (rng.uniform(size=(20_000, 2)) < 2e-4) + 1e-8 * rng.normal(),
            # A gripper that seldom moves.
            lambda rng: (rng.uniform(size=(20_000, 2)) < 2e-4).astype(float),
            lambda rng: np.ones((20_000, 2)),
            lambda rng: rng.normal(size=(10, 2)),
        ],
    )
    def test_what_is_no_glitch(self, draw):
        actions = draw(np.random.default_rng(0)).astype(np.float32)
        assert outlying_actions(short(actions)) is None

    def test_a_measured_gripper_that_is_seldom_closed_trains_with_the_bounds_it_is_told(self):
        rng = np.random.default_rng(0)
        data = short((rng.uniform(size=(300, 1)) < 0.03) + 1e-3 * rng.normal(size=(300, 1)))
        words = str(outlying_actions(data)).split("if they were commanded, give --action-low ")[1]
        low, high = map(float, words.split(" --action-high "))
        scaled = ActionScaling(torch.tensor([low]), torch.tensor([high])).normalize(data.actions)
        assert (float(scaled.min()), float(scaled.max())) == pytest.approx((-1.0, 1.0), abs=1e-5)

    def test_a_row_is_counted_as_inspect_counts_it(self, caplog):
        actions = np.linspace(-1, 1, ROWS)[:, None]
        actions[1234] = 500.0
        # Of each cut trajectory the last row is left out.
        data = made(actions=actions)
        caplog.set_level(logging.WARNING)
        scale(data, TrainConfig("log.npz", rewards="none", action_low=(-1.0,), action_high=(1.0,)))
        assert "in row 1234, " in caplog.text

    def test_bounds_of_the_data(self):
        data = made(actions=np.linspace(-2, 3, ROWS)[:, None])
        low, high = action_bounds_of(data)
        assert [*low, *high] == pytest.approx([-2.0, 3.0], abs=0.01)
        with pytest.raises(DataError, match=r"column 0.*--action-low"):
            action_bounds_of(made(actions=np.ones((ROWS, 1))))

    def test_an_action_beyond_the_environments_bounds_is_named(self):
        actions = np.linspace(-2, 2, ROWS)[:, None]
        actions[1001] = 50.0
        found = inspect_data(made("Pendulum-v1", actions=actions)).findings
        assert re.search(r"1 actions, first in row 1001, lie beyond .* by up to 48", "".join(found))

    @pytest.mark.parametrize("dtype", [int, np.uint8, bool])
    def test_discrete_actions_are_refused_as_such(self, dtype):
        codes = np.random.default_rng(0).integers(0, 2, (ROWS, 1)).astype(dtype)
        with pytest.raises(DataError, match=r"discrete actions.*not supported") as caught:
            made(actions=codes)
        assert caught.value.key == "actions"
        assert "store it as float32" not in str(caught.value)

    @pytest.mark.parametrize(
        ("codes", "columns"),
        [
            (lambda rng: rng.integers(0, 3, (ROWS, 1)), "0"),
            (lambda rng: np.eye(4)[rng.integers(0, 4, ROWS)], "0, 1, 2, 3"),
            (lambda rng: np.stack([rng.normal(size=ROWS), rng.integers(0, 2, ROWS)], 1), "1"),
        ],
    )
    def test_codes_in_floating_point_are_a_finding(self, codes, columns):
        actions = codes(np.random.default_rng(0)).astype(np.float32)
        found = findings(actions=actions)
        assert len(found) == 1
        assert f"actions {columns} take whole numbers" in found[0]
        assert "not supported" in found[0]

    @pytest.mark.parametrize(
        "actions",
        [
            lambda rng: rng.choice([-1.0, 1.0], (ROWS, 1)),
            lambda rng: 40.0 * rng.integers(0, 9, (ROWS, 1)),
        ],
    )
    def test_what_is_no_code(self, actions):
        assert findings(actions=actions(np.random.default_rng(0))) == ()


class TestReturns:
    def trajectories(self, *returns):
        rewards = np.repeat(np.array(returns) / 100, 100)
        rows = len(rewards)
        return Transitions.from_arrays(
            np.random.default_rng(0).normal(size=(rows, 2)),
            np.random.default_rng(1).uniform(-1, 1, (rows, 1)),
            rewards,
            np.zeros(rows),
            np.arange(rows) % 100 == 99,
        )

    def test_returns_that_hardly_differ(self, caplog):
        data = self.trajectories(499.95, 500.0, 500.05)
        assert re.search(
            r"differ by 0.1, 1/4999.*--rewards none", "".join(inspect_data(data).findings)
        )
        RewardScaling.fit("return_range", data)
        assert "--rewards none" in caplog.text

    @pytest.mark.parametrize("returns", [(0.0, 1.0), (-5.0, 20.0), (100.0, 120.0, 110.0)])
    def test_returns_that_differ(self, returns, caplog):
        data = self.trajectories(*returns)
        assert inspect_data(data).findings == ()
        RewardScaling.fit("return_range", data)
        assert caplog.text == ""

    def test_the_same_returns_have_their_own_finding(self):
        assert narrow_returns(torch.tensor([2.0, 2.0])) is None
        assert "all returns are the same" in "".join(inspect_data(self.trajectories(3, 3)).findings)


class TestTerminals:
    def bandit(self, **changes):
        rng = np.random.default_rng(0)
        return Transitions.from_arrays(
            **{
                "observations": rng.normal(size=(400, 2)),
                "actions": rng.uniform(-1, 1, (400, 1)),
                "rewards": rng.normal(size=400),
                "terminals": np.ones(400),
                **changes,
            },
            max_episode_steps=1,
        )

    def test_episodes_of_one_step_have_no_misleading_hint(self):
        data = self.bandit()
        assert (len(data), bool(data.terminals.all())) == (400, True)
        assert inspect_data(data).findings == ()

    def test_nor_where_there_is_no_context(self):
        findings = inspect_data(self.bandit(observations=np.zeros((400, 2)))).findings
        assert not [sentence for sentence in findings if "terminals_end" in sentence]

    def test_nor_where_some_episodes_are_longer(self):
        terminals = np.random.default_rng(1).uniform(size=400) < 0.7
        data = self.bandit(terminals=terminals, timeouts=np.zeros(400))
        assert not [
            sentence for sentence in inspect_data(data).findings if "terminals_end" in sentence
        ]

    def test_an_ant_that_goes_on_at_the_goal_keeps_its_hint(self):
        walk = np.cumsum(np.random.default_rng(0).normal(size=(400, 2)), axis=0)
        terminals = np.arange(400) % 200 > 150
        data = self.bandit(observations=walk, terminals=terminals, timeouts=np.arange(400) == 199)
        assert [sentence for sentence in inspect_data(data).findings if "terminals_end" in sentence]
