"""NaN after the first call: never in x, named at the next call that checks, or at every call."""

import logging
import math

import pytest
import torch
from torch import Tensor

from scoreregs import NetworkPrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.errors import PriorError, ValueFunctionError
from scoreregs.finiteness import Finiteness

SCHEDULE = VPSchedule()
BATCH = 4


class Later:
    """A network that is not finite in some rows of one call, the checks of values not counted."""

    def __init__(self, call: int, rows: tuple[int, ...], number: float = math.nan) -> None:
        self.calls, self.call, self.rows, self.number = 0, call, rows, number

    def __call__(self, x_t: Tensor, t: Tensor, condition: object) -> Tensor:
        self.calls += 1
        output = 0.1 * x_t
        if self.calls == self.call:
            rows = [row + k for k in range(0, len(x_t), BATCH) for row in self.rows]
            output[rows] = self.number
        return output


def objective(network=None, value=None, **options) -> ScoreRegularizedObjective:
    network = network or (lambda x_t, t, condition: 0.1 * x_t)
    return ScoreRegularizedObjective.from_value(
        value or (lambda x: -x.square().sum(-1)),
        NetworkPrior(network, SCHEDULE, modules=()),
        generator=torch.Generator().manual_seed(0),
        **options,
    )


def descend(objective: ScoreRegularizedObjective, steps: int) -> Tensor:
    x = torch.ones(BATCH, 2, requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(x).loss.backward()
        optimizer.step()
    return x.detach()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_x_stays_finite_and_other_rows_move(number):
    x = descend(objective(Later(5, (1, 2), number)), 5)
    whole = descend(objective(), 5)
    assert bool(x.isfinite().all())
    torch.testing.assert_close(x[[0, 3]], whole[[0, 3]])
    torch.testing.assert_close(x[[1, 2]], descend(objective(), 4)[[1, 2]])


@pytest.mark.parametrize("draws", [1, 3])
def test_it_is_named_at_the_next_call_that_checks(draws):
    regularized = objective(Later(5, (0, 2)), draws=draws, times=0.25)
    x = descend(regularized, 7)
    with pytest.raises(PriorError, match=r"prior at t = 0\.25, in 2 of 4 rows.*3 calls later"):
        regularized(x, diagnostics=True)
    regularized(x, diagnostics=True)


def test_it_is_logged_at_once_on_a_cpu(caplog):
    with caplog.at_level(logging.WARNING, "scoreregs.finiteness"):
        descend(objective(Later(5, (1, 2)), times=0.25), 6)
    (record,) = caplog.records
    assert "t = 0.25, in 2 of 4 rows" in record.message
    assert "did not move" in record.message


def test_it_is_an_error_at_once_where_every_call_checks():
    regularized = objective(Later(5, (3,)), check="always", times=0.25)
    descend(regularized, 4)
    with pytest.raises(PriorError, match=r"t = 0\.25, in 1 of 4 rows"):
        descend(regularized, 1)


def test_the_times_of_the_rows_are_told():
    regularized = objective(Later(2, (1, 3)), check="always")
    x = torch.ones(BATCH, 2)
    t = torch.tensor([0.1, 0.2, 0.3, 0.4])
    regularized(x, t=t)
    with pytest.raises(PriorError, match=r"t from 0\.2 to 0\.4, in 2 of 4 rows"):
        regularized(x, t=t)


def test_a_value_is_named_as_such():
    calls = []

    def value(x):
        calls.append(None)
        return (x * (math.nan if len(calls) == 3 else 1.0)).sum(-1)

    regularized = objective(value=value)
    x = descend(regularized, 4)
    assert bool(x.isfinite().all())
    with pytest.raises(ValueFunctionError, match="value's gradient, in 4 of 4 rows"):
        regularized(x, diagnostics=True)


def test_large_numbers_whose_sum_overflows_are_finite():
    gradient = torch.full((2, 4), 2e38)
    watch = Finiteness()
    assert torch.equal(watch.guard(gradient, None, torch.ones(1, 2))[0], gradient)
    watch.check()


def test_without_a_cpu_nothing_is_read(monkeypatch):
    """The path of an accelerator, on the meta device, where a read is impossible."""
    gradient = torch.ones(3, 2, device="meta")
    guarded, unmoved = Finiteness().guard(gradient, gradient, torch.ones(1, 3, device="meta"))
    assert guarded.shape == gradient.shape
    assert unmoved is not None
    assert unmoved.shape == (3,)


def test_the_result_says_which_rows_did_not_move():
    regularized, x = objective(Later(2, (1, 2))), torch.ones(BATCH, 2)
    found = [regularized(x).unmoved for _ in range(3)]
    assert found[0] is found[2] is None
    assert found[1] is not None
    assert found[1].tolist() == [False, True, True, False]
