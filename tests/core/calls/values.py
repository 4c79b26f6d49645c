"""What is wrong for a parameter of each kind, and what calls are made of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from scoreregs import GaussianMixturePrior, NetworkPrior, ScoreRegularizedObjective, VPSchedule

__all__ = [
    "CONDITION",
    "COUNT",
    "DECAY",
    "FLAG",
    "FUNCTION",
    "GENERATOR",
    "GIVEN",
    "LIST",
    "NAME",
    "NONE",
    "NUMBER",
    "OPTIONS",
    "PAIR",
    "POINTS",
    "POSITIVE",
    "PRIOR",
    "RAGGED",
    "RANGE",
    "RULE",
    "SAMPLER",
    "SCHEDULE",
    "TEMPERATURES",
    "TENSOR",
    "TIME",
    "VALUE",
    "WEIGHTING",
    "Call",
    "Net",
    "X",
    "gaussian",
    "network",
    "objective",
    "prior",
    "total",
]

X = torch.linspace(-1, 1, 8).reshape(4, 2)
RAGGED = [[1.0], [1.0, 2.0]]
NAN, INF = float("nan"), float("inf")


class Net(torch.nn.Module):
    """A network of two elements."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x_t, t, condition=None):
        return self.layer(x_t)


def network(x_t, t, condition=None):
    """Returns half of x_t."""
    return x_t / 2


def total(x):
    """Returns a value of one argument."""
    return x.sum(-1)


def gaussian() -> GaussianMixturePrior:
    """Returns a standard normal prior of two elements."""
    return GaussianMixturePrior([1.0], [[0.0, 0.0]], torch.eye(2)[None], VPSchedule())


def prior() -> NetworkPrior:
    """Returns a prior of a function."""
    return NetworkPrior(network, VPSchedule(), modules=())


def objective(**options: Any) -> ScoreRegularizedObjective:
    """Returns an objective of that prior."""
    return ScoreRegularizedObjective.from_value(lambda x: -x.square().sum(-1), prior(), **options)


NUMBER: list[Any] = ["3", None, [1.0, 2.0], object(), NAN, True, np.True_, np.float32(NAN)]
POSITIVE: list[Any] = [*NUMBER, 0.0, -1.0, INF]
DECAY: list[Any] = [*NUMBER, 1.0, -0.1]
COUNT: list[Any] = ["3", None, 2.5, 0, -1, True, np.True_, np.float32(2.5), np.int64(0)]
SCHEDULE: list[Any] = [None, "vp", VPSchedule, prior(), 3]
PRIOR: list[Any] = [None, VPSchedule(), network, Net(), "prior", NetworkPrior]
FUNCTION: list[Any] = [3, "network", VPSchedule(), X]
RULE: list[Any] = [None, 3, "sigma2", X, VPSchedule]
VALUE: list[Any] = [3, "q", X, lambda: 3, lambda x, c, t: x]
EIGHTH, SPARSE = X.to(torch.float8_e4m3fn), X.to_sparse()
TENSOR: list[Any] = [
    *(None, np.ones((4, 2)), [[1.0, 2.0]], "x"),
    *(X[0], X.long(), X[:0], X + 0j, EIGHTH, SPARSE),
]
GIVEN: list[Any] = [np.ones((4, 2)), "x", X[:, :1], X.long(), X[0]]
POINTS: list[Any] = [None, RAGGED, "points", {1.0}, [["a"]]]
GENERATOR: list[Any] = [3, "seed", np.random.default_rng(0)]
TIME: list[Any] = ["now", None, 2.0, np.float32(2.0), NAN, [0.1, 0.2], RAGGED, torch.ones(3)]
RANGE: list[Any] = ["ab", (0.9, 0.1), 3.0, (0.1,), ("a", "b"), (0.1, NAN), None]
PAIR: list[Any] = ["ab", 3.0, (0.1,), ("a", "b"), (0.1, None)]
NAME: list[Any] = ["nothing", 3, [], {}]
SAMPLER: list[Any] = [None, "points", 3, [], int]
CONDITION: list[Any] = ["left", 3, X[:3], {"a": "b"}, np.ones((4, 2))]
FLAG: list[Any] = [None, 1, "yes", [True]]
TEMPERATURES: list[Any] = [*NUMBER[:2], *NUMBER[3:], 0.0, -1.0, INF, [], ["1"], [1.0, 0.0]]
LIST: list[Any] = [None, 3, "ab", [], [VPSchedule()]]
WEIGHTING: list[Any] = ["sigma", 3, None, [], VPSchedule]
NONE: list[Any] = []

# Of an objective, as recipes pass them on.
OPTIONS: dict[str, list[Any]] = {
    "beta": [*NUMBER, 0.0, -1.0],
    "normalize": NAME,
    "beta_on": [*NAME, None],
    "weighting": WEIGHTING,
    "baseline": [*NAME, None, VPSchedule],
    "times": [*RANGE, 1.5],
    "noiser": [*NAME, None],
    "draws": COUNT,
    "members": COUNT,
    "through_prior": FLAG,
    "reduction": [*NAME, None],
    "generator": GENERATOR,
    "check": [*NAME, None],
}


@dataclass(frozen=True)
class Call:
    """A public callable.

    Attributes:
        function: what is called.
        right: arguments that are right.
        wrong: of each parameter, what it is not.
        of: whose signature it has, where `function` only prepares the call.
        names: whether a mistyped keyword gets the nearest name.
    """

    function: Callable[..., Any]
    right: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, list[Any]] = field(default_factory=dict)
    of: Callable[..., Any] | None = None
    names: bool = True
