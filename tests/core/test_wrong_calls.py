"""Every parameter of every public signature, given what it is not: always an error of the library.

The signatures are read from the package: a new public name or parameter without a row here fails.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import scoreregs
from scoreregs import GaussianMixturePrior, NetworkPrior, ScoreRegularizedObjective, VPSchedule
from scoreregs.betas import AnnealedBeta, TargetBeta
from scoreregs.errors import ScoreRegsError
from scoreregs.probability_flow import log_density, sample

X = torch.linspace(-1, 1, 8).reshape(4, 2)
RAGGED = [[1.0], [1.0, 2.0]]
TABLE = [0.99, 0.5, 0.01]


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x_t, t, condition=None):
        return self.layer(x_t)


def network(x_t, t, condition=None):
    return x_t / 2


def gaussian() -> GaussianMixturePrior:
    return GaussianMixturePrior([1.0], [[0.0, 0.0]], torch.eye(2)[None], VPSchedule())


def prior() -> NetworkPrior:
    return NetworkPrior(network, VPSchedule(), modules=())


def objective(**options: Any) -> ScoreRegularizedObjective:
    return ScoreRegularizedObjective.from_value(lambda x: -x.square().sum(-1), prior(), **options)


def schedule_call(method: str) -> Callable[..., Any]:
    return lambda t: getattr(VPSchedule(), method)(t)


# What is wrong for a parameter of each kind.
NUMBER: list[Any] = ["3", None, [1.0, 2.0], object(), float("nan"), True]
COUNT: list[Any] = ["3", None, 2.5, 0, -1, True]
SCHEDULE: list[Any] = [None, "vp", VPSchedule, prior(), 3]
PRIOR: list[Any] = [None, VPSchedule(), network, Net(), "prior", NetworkPrior]
FUNCTION: list[Any] = [3, "network", VPSchedule(), X]
TENSOR: list[Any] = [None, np.ones((4, 2)), [[1.0, 2.0]], "x", X[0], X.long(), X[:0]]
POINTS: list[Any] = [None, RAGGED, "points", {1.0}, [["a"]]]
GENERATOR: list[Any] = [3, "seed", np.random.default_rng(0)]
TIME: list[Any] = ["now", None, 2.0, -0.1, float("nan"), [0.1, 0.2], RAGGED, torch.ones(3)]
RANGE: list[Any] = ["ab", (0.9, 0.1), 3.0, (0.1,), ("a", "b"), (0.1, float("nan"))]
NAME: list[Any] = ["nothing", 3, [], {}]
CONDITION: list[Any] = ["left", 3, X[:3], {"a": "b"}, np.ones((4, 2))]
FLAG: list[Any] = [None, 1, "yes", [True]]
TEMPERATURES: list[Any] = [*NUMBER[:2], *NUMBER[3:], 0.0, -1.0, float("inf"), [], ["1"], [1.0, 0.0]]
GIVEN: list[Any] = [np.ones((4, 2)), "x", X[:, :1], X.long(), X[0]]
LIST: list[Any] = [None, 3, "ab", [], [VPSchedule()]]

# Each public callable with right arguments, and the kind of each parameter.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, list[Any]]]] = {
    "VPSchedule": (VPSchedule, {}, {"beta_min": NUMBER, "beta_max": NUMBER}),
    "SubVPSchedule": (scoreregs.SubVPSchedule, {}, {"beta_min": NUMBER, "beta_max": NUMBER}),
    "CosineSchedule": (scoreregs.CosineSchedule, {}, {"offset": NUMBER}),
    "RectifiedFlowSchedule": (scoreregs.RectifiedFlowSchedule, {}, {"shift": NUMBER}),
    "VESchedule": (scoreregs.VESchedule, {}, {"sigma_min": NUMBER, "sigma_max": NUMBER}),
    "EDMSchedule": (
        scoreregs.EDMSchedule,
        {},
        {"sigma_min": NUMBER, "sigma_max": NUMBER, "rho": NUMBER},
    ),
    "TabulatedSchedule": (
        scoreregs.TabulatedSchedule,
        {"alpha": TABLE, "sigma": [0.1, 0.5, 0.9]},
        {"alpha": POINTS, "sigma": POINTS, "interpolation": NAME},
    ),
    "NetworkPrior": (
        NetworkPrior,
        {"network": network, "schedule": VPSchedule()},
        {
            "network": [*FUNCTION, Net, lambda x: x, lambda: 3],
            "schedule": SCHEDULE,
            "prediction": NAME,
            "time_map": FUNCTION,
            "modules": [3, "net", [3]],
        },
    ),
    "EDMPrior": (
        scoreregs.EDMPrior,
        {"network": network, "schedule": VPSchedule()},
        {"network": FUNCTION, "schedule": SCHEDULE, "sigma_data": NUMBER, "modules": [3]},
    ),
    "DenoiserPrior": (
        scoreregs.DenoiserPrior,
        {"denoiser": network, "schedule": VPSchedule()},
        {"denoiser": FUNCTION, "schedule": SCHEDULE, "modules": [3]},
    ),
    "GaussianMixturePrior": (
        GaussianMixturePrior,
        {
            "weights": [1.0],
            "means": [[0.0]],
            "covariances": [[[1.0]]],
            "schedule": VPSchedule(),
        },
        {"weights": POINTS, "means": POINTS, "covariances": POINTS, "schedule": SCHEDULE},
    ),
    "GaussianMixturePrior.conditional": (
        GaussianMixturePrior.conditional,
        {"mixture": lambda c: c, "schedule": VPSchedule()},
        {"mixture": [3, "mixture", X], "schedule": SCHEDULE},
    ),
    "GaussianMixturePrior.draw": (
        gaussian().draw,
        {"count": 3},
        {"count": COUNT, "generator": GENERATOR},
    ),
    "GaussianMixturePrior.log_prob": (
        gaussian().log_prob,
        {"x_t": X},
        {"x_t": TENSOR, "t": TIME},
    ),
    "EmpiricalPrior": (
        scoreregs.EmpiricalPrior,
        {"data": X, "schedule": VPSchedule()},
        {"data": [*TENSOR, X * float("nan")], "schedule": SCHEDULE},
    ),
    "GuidedPrior": (
        scoreregs.GuidedPrior,
        {"prior": prior(), "scale": 2.0, "null": X[:1]},
        {"prior": PRIOR, "scale": [v for v in NUMBER if v == v], "null": [None]},
    ),
    "ClampedPrior": (
        scoreregs.ClampedPrior,
        {"prior": prior()},
        {"prior": PRIOR, "low": NUMBER, "high": NUMBER},
    ),
    "MatchedPrior": (
        scoreregs.MatchedPrior,
        {"prior": prior(), "schedule": VPSchedule()},
        {"prior": PRIOR, "schedule": SCHEDULE},
    ),
    "Term": (
        scoreregs.Term,
        {"prior": prior()},
        {"prior": PRIOR, "coefficient": ["2", None, [1.0], True]},
    ),
    "CombinedPrior": (
        scoreregs.CombinedPrior,
        {"terms": [scoreregs.Term(prior())]},
        {"terms": [*LIST, [prior()]]},
    ),
    "CombinedPrior.product": (
        scoreregs.CombinedPrior.product,
        {"priors": [prior()]},
        {"priors": LIST, "exponents": [3, "ab", [], ["a"]]},
    ),
    "ScorePrior.epsilon": (prior().epsilon, {"x_t": X, "t": 0.5}, {"x_t": TENSOR, "t": TIME}),
    "ScorePrior.score": (prior().score, {"x_t": X, "t": 0.5}, {"x_t": TENSOR, "t": TIME}),
    "ScorePrior.denoise": (prior().denoise, {"x_t": X, "t": 0.5}, {"x_t": TENSOR, "t": TIME}),
    "NoiseSchedule.at": (VPSchedule().at, {"t": 0.5}, {"t": ["now", None, 2.0, -0.1, RAGGED]}),
    "ScoreRegularizedObjective.from_value": (
        ScoreRegularizedObjective.from_value,
        {"value": lambda x: x.sum(-1), "prior": prior()},
        {
            "value": [3, "q", X, lambda: 3, lambda x, c, t: x],
            "prior": PRIOR,
            "beta": [*NUMBER, 0.0, -1.0, TargetBeta],
            "normalize": NAME,
            "beta_on": [*NAME, None],
            "weighting": [*NAME, None],
            "baseline": [*NAME, None],
            "times": [*RANGE, None, 1.5],
            "noiser": [*NAME, None],
            "draws": COUNT,
            "members": COUNT,
            "through_prior": FLAG,
            "reduction": [*NAME, None],
            "generator": GENERATOR,
            "check": [*NAME, None],
        },
    ),
    "ScoreRegularizedObjective": (
        lambda **call: objective()(**call),
        {"x": X},
        {
            "x": [*TENSOR, X * float("nan")],
            "condition": CONDITION,
            "t": [*TIME[:1], *TIME[2:]],
            "noise": GIVEN,
            "beta": [3, "1", X, -torch.ones(4)],
            "data": [*GIVEN, X],
        },
    ),
    "ScoreRegularizedObjective of a budget": (
        lambda **call: objective(beta=TargetBeta(1.0))(**call),
        {"x": X, "data": X},
        {"data": [*GIVEN, None, X * float("nan")]},
    ),
    "ScoreRegularizedObjective of members": (
        lambda **call: objective(members=2, beta=AnnealedBeta([1.0, 2.0], 0.1, 3))(**call),
        {"x": X},
        {"x": [*TENSOR, X[:3]]},
    ),
    "betas.AnnealedBeta": (
        AnnealedBeta,
        {"start": 1.0, "end": [0.1, 0.2], "steps": 3},
        {"start": TEMPERATURES, "end": TEMPERATURES, "steps": COUNT},
    ),
    "betas.TargetBeta": (
        TargetBeta,
        {"ratio": 1.5},
        {
            "ratio": TEMPERATURES,
            "start": TEMPERATURES,
            "rate": [*NUMBER, 0.0, 1.0],
            "decay": [*NUMBER, 1.0, -0.1],
        },
    ),
    "check_prior": (
        scoreregs.check_prior,
        {"prior": prior(), "data": X},
        {
            "prior": PRIOR,
            "data": [*TENSOR, X[:1]],
            "condition": CONDITION,
            "batch_size": [v for v in COUNT if v is not None],
            "generator": GENERATOR,
        },
    ),
    "fit_prior": (
        scoreregs.fit_prior,
        {"network": Net(), "data": X, "schedule": VPSchedule(), "steps": 1, "batch_size": 2},
        {
            "network": [*FUNCTION, torch.nn.Identity(), network],
            "data": TENSOR,
            "schedule": SCHEDULE,
            "condition": CONDITION,
            "prediction": NAME,
            "time_map": FUNCTION,
            "times": [*RANGE, None],
            "steps": COUNT,
            "batch_size": COUNT,
            "learning_rate": NUMBER,
            "generator": GENERATOR,
            "on_step": [3, "log"],
        },
    ),
    "probability_flow.sample": (
        sample,
        {"prior": gaussian(), "shape": (2, 2)},
        {
            "prior": PRIOR,
            "shape": [None, 3, (3,), (0, 2), "ab", (2.0, 2)],
            "times": [*RANGE, None],
            "tolerance": [*NUMBER, 0.0],
            "generator": GENERATOR,
            "dtype": [torch.int64, "float32", None],
            "device": [None, 3.5, "nowhere"],
        },
    ),
    "probability_flow.log_density": (
        log_density,
        {"prior": gaussian(), "x": X},
        {"prior": PRIOR, "x": TENSOR, "times": [*RANGE, None], "tolerance": [*NUMBER, 0.0]},
    ),
}
# Of the objective itself `from_value` has all; the other names are abstract, results or errors.
OTHERS = {
    "Diagnostics",
    "NoiseLevel",
    "NoiseSchedule",
    "ObjectiveResult",
    "PriorReport",
    "ScorePrior",
    "ScoreRegsError",
}
# Whatever a prior is conditioned on it understands itself; a flag.
OPEN = {"condition", "null", "diagnostics", "self"}


def wrong_calls() -> Iterator[Any]:
    for name, (function, right, kinds) in CALLS.items():
        for parameter, values in kinds.items():
            for value in values:
                # Addresses differ between the processes that share the tests.
                told = re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(value).split()))[:30]
                yield pytest.param(
                    function, right | {parameter: value}, id=f"{name}-{parameter}-{told}"
                )


@pytest.mark.parametrize(("function", "arguments"), list(wrong_calls()))
def test_a_wrong_argument_is_an_error_of_the_library(function, arguments):
    with pytest.raises(ScoreRegsError, match=r"got .*expected|expected"):
        function(**arguments)


@pytest.mark.parametrize("name", CALLS)
def test_the_right_arguments_are_accepted(name):
    function, right, _ = CALLS[name]
    if name.startswith("probability_flow"):
        pytest.importorskip("torchdiffeq")
    if name != "check_prior":  # the prior is not one of this data: it says so
        function(**right)


# Python's own error names the keyword of a method.
METHODS = {
    n
    for n in CALLS
    if ("." in n and not n.startswith(("Score", "probability", "betas"))) or "Prior." in n
}


@pytest.mark.parametrize("name", sorted(CALLS.keys() - METHODS))
def test_a_mistyped_or_missing_argument_is_an_error_of_the_library(name):
    function, right, kinds = CALLS[name]
    parameter = max(kinds, key=len)
    mistyped = parameter[:-1] + "_" + parameter[-1]
    with pytest.raises(ScoreRegsError, match=f"did you mean '{parameter}'"):
        function(**right | {mistyped: 1})


def test_every_public_signature_is_here():
    public = {name for name in scoreregs.__all__ if name not in OTHERS}
    module = importlib.import_module("scoreregs.probability_flow")
    public |= {f"probability_flow.{name}" for name in module.__all__}
    betas = importlib.import_module("scoreregs.betas")
    public |= {f"betas.{name}" for name in betas.__all__} - {"betas.Beta"}  # abstract
    assert public <= set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_every_parameter_is_here(name):
    function, _, kinds = CALLS[name]
    parameters = inspect.signature(function).parameters
    if name.startswith("ScoreRegularizedObjective of"):
        return
    if name == "ScoreRegularizedObjective":
        parameters = inspect.signature(ScoreRegularizedObjective.forward).parameters
    if name == "ScoreRegularizedObjective.from_value":
        parameters = inspect.signature(ScoreRegularizedObjective).parameters | parameters
    named = {n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    assert named - OPEN <= set(kinds)
