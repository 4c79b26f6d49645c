"""Figures without an environment, against closed forms."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreregs import GaussianMixturePrior, RectifiedFlowSchedule, VPSchedule
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.evaluation.offline import FIGURES, compare_offline
from scoreregs_offline_rl.evaluation.statistics import bootstrap_interval, clustered_interval, mean
from tests.offline_rl.rl_data import make_transitions

NORMAL = GaussianMixturePrior([1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]], VPSchedule())


@pytest.fixture(scope="module")
def data():
    return make_transitions(600)


def constant(*action):
    return lambda observations: torch.tensor([action]).expand(len(observations), -1)


def total(actions, observations):
    return actions.sum(-1)


def compare(policies, data, **changes):
    options = {"prior": NORMAL, "value": total, "reference": next(iter(policies)), **changes}
    return compare_offline(policies, data, **options)


def test_the_data_itself_is_at_no_distance(data):
    found = compare({"cloning": constant(0.0, 0.0)}, data)
    assert list(found.figures) == ["data", "cloning"]
    assert found.figures["data"]["distance"].mean == 0
    assert found.figures["data"]["value"].mean == pytest.approx(float(data.actions.sum(-1).mean()))
    assert (found.rows, found.trajectories) == (600, 60)
    distance = data.actions.square().mean(-1).sqrt().mean()
    assert found.figures["cloning"]["distance"].mean == pytest.approx(float(distance), rel=1e-6)


def test_a_policy_at_a_known_distance(data):
    """One that has learnt every row by heart and adds (0.3, 0.4), at sqrt((0.09 + 0.16) / 2)."""
    order = {tuple(s.tolist()): a for s, a in zip(data.observations, data.actions, strict=True)}

    def shifted(observations):
        actions = torch.stack([order[tuple(s.tolist())] for s in observations])
        return actions + torch.tensor([0.3, 0.4])

    found = compare({"shifted": shifted}, data).figures["shifted"]["distance"]
    assert found.mean == pytest.approx(0.125**0.5, rel=1e-6)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(found.interval.high, rel=1e-6)


@pytest.mark.parametrize("action", [0.0, 0.5, 3.0])
def test_the_prior_error_of_a_normal_prior(data, action):
    """eps_hat - eps = sigma alpha a - alpha^2 eps: its square is sigma^2 alpha^2 a^2 + alpha^4."""
    t = torch.linspace(0.02, 0.98, 20_001, dtype=torch.float64)
    alpha, sigma = VPSchedule()(t)
    expected = float(((sigma * alpha * action).square() + alpha**4).mean())
    found = compare({"constant": constant(action, action)}, data).figures["constant"]
    assert found["prior error"].mean == pytest.approx(expected, rel=0.05)


def test_differences_are_taken_row_by_row(data):
    """The rows' values vary far more than the difference, which is exact."""
    policies = {
        "cloning": lambda s: 100 * s[:, :2],
        "ours": lambda s: 100 * s[:, :2] + 0.25,
    }
    found = compare(policies, data)
    difference = found.differences["ours"]["value"]
    assert difference.mean == pytest.approx(0.5, abs=1e-3)
    assert difference.interval is not None
    assert difference.interval.high - difference.interval.low < 1e-3
    value = found.figures["ours"]["value"].interval
    assert value is not None
    assert value.high - value.low > 10
    assert all(its.mean == 0 for its in found.differences["cloning"].values())


def test_rows_that_are_given_are_those_that_are_drawn(data):
    held = torch.arange(100, 130)
    found = compare({"cloning": constant(0.0, 0.0)}, data, rows=held)
    assert (found.rows, found.trajectories) == (30, 3)
    expected = float(data.actions[100:130].sum(-1).mean())
    assert found.figures["data"]["value"].mean == pytest.approx(expected, rel=1e-5)


def test_at_most_1024_rows_and_the_same_ones_for_a_seed():
    data = make_transitions(3000)
    policies = {"cloning": constant(0.0, 0.0)}
    state = torch.get_rng_state()
    found, again = compare(policies, data), compare(policies, data)
    assert torch.get_rng_state().equal(state)
    assert found.rows == 1024
    assert found == again
    assert found != compare(policies, data, seed=1)


def test_one_trajectory_has_no_interval():
    data = make_transitions(10)
    found = compare({"cloning": constant(0.0, 0.0)}, data)
    assert found.trajectories == 1
    assert found.figures["cloning"]["value"].interval is None
    assert "[" not in found.table()


def test_models_get_no_gradient_and_keep_their_mode(data):
    network = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Dropout(0.5)).train()
    compare({"cloning": constant(0.0, 0.0), "network": network}, data)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_table_and_record_say_that_they_are_no_score(data):
    found = compare({"cloning": constant(0.0, 0.0), "ours": constant(0.5, 0.5)}, data)
    lines = found.table().splitlines()
    assert lines[0].startswith("|         | distance")
    assert "value less cloning's" in lines[0]
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["data", "cloning", "ours"]
    assert lines[3].count("[") == 3
    assert lines[4].count("[") == 6
    assert lines[-1].startswith("600 rows of 60 trajectories. These figures are no score")
    record = json.loads(json.dumps(found.to_dict()))
    assert "no score" in record["note"]
    assert record["figures"]["ours"]["value"]["mean"] == pytest.approx(1.0)
    assert set(record["figures"]["ours"]) == set(FIGURES)


BROKEN = {
    "no such reference": ({"reference": "cloning"}, "the reference 'cloning', expected one of"),
    "a policy called data": ({"policies": {"data": constant(0.0, 0.0)}}, "none called 'data'"),
    "another shape": ({"policies": {"ours": constant(0.0)}}, r"shape \(600, 1\) from ours"),
    "NaN": ({"policies": {"ours": constant(0.0, np.nan)}}, "a distance of ours that is not finite"),
    "values of another shape": (
        {"value": lambda a, s: a},
        r"values of shape \(600, 2\), expected \(600,\)",
    ),
    "a NaN value": ({"value": lambda a, s: a[:, 0] * np.nan}, "a value of data that is not"),
    "no rows": ({"rows": torch.arange(0)}, "no rows"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_compared(data, name):
    changes, message = BROKEN[name]
    policies = changes.pop("policies", {"ours": constant(0.0, 0.0)})
    with pytest.raises(ArgumentError, match=message):
        compare(policies, data, **changes)


def test_a_schedule_of_its_own(data):
    """Another schedule has other levels at a time: the error is that of the prior's own."""
    prior = GaussianMixturePrior(
        [1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]], RectifiedFlowSchedule()
    )
    t = torch.linspace(0.02, 0.98, 20_001, dtype=torch.float64)
    alpha, sigma = 1 - t, t
    # eps_hat = sigma x_t / (alpha^2 + sigma^2), at a = 0.
    expected = float(((sigma**2 / (alpha**2 + sigma**2) - 1).square()).mean())
    found = compare({"zero": constant(0.0, 0.0)}, data, prior=prior).figures["zero"]
    assert found["prior error"].mean == pytest.approx(expected, rel=0.05)


class TestClusters:
    def test_alone_they_are_a_plain_bootstrap(self):
        values = np.random.default_rng(0).normal(size=30)
        found = clustered_interval(values, np.arange(30), seed=3)
        expected = bootstrap_interval([values], mean, seed=3)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)

    def test_rows_that_repeat_say_nothing_new(self):
        values = np.random.default_rng(0).normal(size=30)
        found = clustered_interval(values.repeat(50), np.arange(30).repeat(50))
        expected = clustered_interval(values, np.arange(30))
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)

    def test_the_order_of_rows_does_not_matter(self):
        generator = np.random.default_rng(0)
        values, clusters = generator.normal(size=60), generator.integers(7, size=60)
        order = generator.permutation(60)
        found = clustered_interval(values[order], clusters[order])
        expected = clustered_interval(values, clusters)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)

    def test_every_mean_of_two_clusters(self):
        """One row of 1 and three of 0: the mean is 0, 1/4, 1 with probability 1/4, 1/2, 1/4."""
        values, clusters = np.array([1.0, 0.0, 0.0, 0.0]), np.array([0, 1, 1, 1])
        narrow = clustered_interval(values, clusters, confidence=0.4)
        wide = clustered_interval(values, clusters, confidence=0.6)
        assert (narrow.low, narrow.high, narrow.confidence) == (0.25, 0.25, 0.4)
        assert (wide.low, wide.high) == (0.0, 1.0)

    def test_coverage(self):
        """Trajectories that differ: row by row, 95 % would be about 55 %."""
        generator = np.random.default_rng(0)
        held, held_by_rows, repeats = 0, 0, 200
        for repeat in range(repeats):
            lengths = generator.integers(5, 16, size=40)
            clusters = np.arange(40).repeat(lengths)
            levels = generator.normal(size=40)
            values = levels[clusters] + generator.normal(size=len(clusters))
            found = clustered_interval(values, clusters, repetitions=400, seed=repeat)
            plain = bootstrap_interval([values], mean, repetitions=400, seed=repeat)
            held += found.low <= 0 <= found.high
            held_by_rows += plain.low <= 0 <= plain.high
        assert 0.90 <= held / repeats <= 0.98
        assert held_by_rows / repeats < 0.75

    @pytest.mark.parametrize(
        ("values", "clusters", "message"),
        [
            ([1.0, 2.0], [0, 0], "got 1 clusters, expected at least 2"),
            ([1.0, np.nan], [0, 1], "not finite"),
            ([1.0, 2.0], [0], r"values of shape \(2,\) and clusters of \(1,\)"),
        ],
    )
    def test_what_has_no_interval(self, values, clusters, message):
        with pytest.raises(ArgumentError, match=message):
            clustered_interval(np.array(values), np.array(clusters))


def test_rows_of_a_trajectory_are_one_cluster(data):
    """Where every trajectory has one value, the interval is that of sixty numbers, not 600."""
    levels = np.random.default_rng(0).normal(size=60).astype(np.float32)
    actions = torch.from_numpy(levels.repeat(10))[:, None].expand(-1, 2).contiguous()
    found = compare({"cloning": constant(0.0, 0.0)}, replace(data, actions=actions / 2))
    interval = found.figures["data"]["value"].interval
    assert interval is not None
    half = 1.96 * levels.std() / 60**0.5
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
