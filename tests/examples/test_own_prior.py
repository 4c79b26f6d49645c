"""The example of a network of one's own: shrunk, and its claims with priors that are exact."""

import pytest
import torch

from examples.own_prior import (
    BETAS,
    KINDS,
    on_support,
    optimise,
    run,
    summarise,
    train_prior,
    two_moons,
    value,
)
from scoreregs import EmpiricalPrior, check_prior

DATA = two_moons(400, seed=0)


def exact_points(kind, beta):
    """Optimised points under the exact prior of the data, seen through one schedule."""
    prior = EmpiricalPrior(DATA, KINDS[kind][0])
    return optimise(prior, beta, count=60, steps=120, seed=0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "rectified flow"])
def test_schedules_agree_where_the_prior_is_exact(kind):
    torch.testing.assert_close(
        exact_points(kind, 0.25), exact_points("rectified flow", 0.25), rtol=0, atol=1e-3
    )


def test_small_beta_keeps_points_on_the_data_and_a_large_one_lets_them_go():
    kept, freed = exact_points("EDM", BETAS[0]), exact_points("EDM", 100.0)
    assert on_support(kept, DATA) > 0.9
    assert on_support(freed, DATA) < 0.1
    assert value(freed, None).mean() > value(kept, None).mean() + 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_plugged_in_right_by_its_row(kind):
    schedule, prediction = KINDS[kind]
    prior = train_prior(schedule, prediction, DATA, steps=150, seed=0)
    # After so few steps it may be weak, which is another thing: no other reading explains it.
    assert check_prior(prior, DATA).ratio == 1.0


def test_support_is_the_data_itself_and_no_far_point():
    assert on_support(DATA + 1e-4, DATA) == 1.0
    assert on_support(torch.tensor([[0.0, 5.0], DATA[0].tolist()]), DATA) == 0.5


def test_it_runs_and_draws(tmp_path):
    outcomes, figure = run(samples=200, fit_steps=20, points=8, steps=5)
    assert [(o.prior, o.beta) for o in outcomes] == [(kind, b) for kind in KINDS for b in BETAS]
    assert [axis.get_title() for axis in figure.axes] == list(KINDS)
    figure.savefig(tmp_path / "picture.png")


def test_outcomes_tell_where_points_are():
    (outcome,) = summarise({"exact": {1.0: DATA[:10]}}, DATA)
    assert outcome.on_support == 1.0
    assert outcome.mean_value == pytest.approx(value(DATA[:10], None).mean().item())
