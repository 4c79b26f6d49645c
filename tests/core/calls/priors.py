"""Calls of priors, and of what is done with one by itself."""

import torch

import scoreregs
from scoreregs import CombinedPrior, GaussianMixturePrior, NetworkPrior, Term, VPSchedule
from scoreregs.probability_flow import log_density, sample
from tests.core.calls.values import (
    CONDITION,
    COUNT,
    FUNCTION,
    GENERATOR,
    INF,
    LIST,
    NAME,
    NAN,
    NUMBER,
    POINTS,
    POSITIVE,
    PRIOR,
    RANGE,
    SCHEDULE,
    TENSOR,
    TIME,
    Call,
    Net,
    X,
    gaussian,
    network,
    prior,
)

# Whatever a prior is conditioned on it understands itself, if it is a condition.
SEEN = ["left", 3, {"a": "b"}]
CHOSEN = ["left", 3, {"a": 1}]

CALLS = {
    "NetworkPrior": Call(
        NetworkPrior,
        {"network": network, "schedule": VPSchedule()},
        {
            "network": [*FUNCTION, Net, lambda x: x, lambda: 3, None],
            "schedule": SCHEDULE,
            "prediction": [*NAME, None, "x0"],
            "time_map": [*FUNCTION, torch.nn.Identity],
            "modules": [3, "net", [3], [Net]],
        },
    ),
    "EDMPrior": Call(
        scoreregs.EDMPrior,
        {"network": network, "schedule": VPSchedule()},
        {
            "network": [*FUNCTION, None, lambda: 3],
            "schedule": SCHEDULE,
            "sigma_data": POSITIVE,
            "modules": [3],
        },
    ),
    "DenoiserPrior": Call(
        scoreregs.DenoiserPrior,
        {"denoiser": network, "schedule": VPSchedule()},
        {"denoiser": [*FUNCTION, None, lambda: 3], "schedule": SCHEDULE, "modules": [3]},
    ),
    "GaussianMixturePrior": Call(
        GaussianMixturePrior,
        {
            "weights": [1.0],
            "means": [[0.0]],
            "covariances": [[[1.0]]],
            "schedule": VPSchedule(),
        },
        {
            "weights": [*POINTS, [0.4], [-1.0], [NAN]],
            "means": [*POINTS, [[NAN]], [0.0], [[0.0, 0.0]]],
            "covariances": [*POINTS, [[[-1.0]]], [[[NAN]]]],
            "schedule": SCHEDULE,
        },
    ),
    "GaussianMixturePrior.conditional": Call(
        GaussianMixturePrior.conditional,
        {"mixture": lambda c: c, "schedule": VPSchedule()},
        {"mixture": [3, "mixture", X, None], "schedule": SCHEDULE},
    ),
    "GaussianMixturePrior.draw": Call(
        gaussian().draw,
        {"count": 3},
        {"count": COUNT, "condition": [], "generator": GENERATOR},
    ),
    "GaussianMixturePrior.log_prob": Call(
        gaussian().log_prob,
        {"x_t": X},
        {"x_t": [*TENSOR, X[:, :1]], "t": TIME, "condition": []},
    ),
    "EmpiricalPrior": Call(
        scoreregs.EmpiricalPrior,
        {"data": X, "schedule": VPSchedule()},
        {"data": [*TENSOR, X * NAN], "schedule": SCHEDULE},
    ),
    "GuidedPrior": Call(
        scoreregs.GuidedPrior,
        {"prior": prior(), "scale": 2.0, "null": X[:1]},
        {"prior": PRIOR, "scale": [*NUMBER, INF, VPSchedule], "null": [None, *CHOSEN]},
    ),
    "ClampedPrior": Call(
        scoreregs.ClampedPrior,
        {"prior": prior()},
        {"prior": PRIOR, "low": [*NUMBER, 2.0], "high": [*NUMBER, -2.0]},
    ),
    "MatchedPrior": Call(
        scoreregs.MatchedPrior,
        {"prior": prior(), "schedule": VPSchedule()},
        {"prior": PRIOR, "schedule": SCHEDULE},
    ),
    "Term": Call(
        Term,
        {"prior": prior()},
        {"prior": PRIOR, "coefficient": [*NUMBER, INF, VPSchedule], "condition": CHOSEN},
    ),
    "CombinedPrior": Call(
        CombinedPrior, {"terms": [Term(prior())]}, {"terms": [*LIST, [prior()], [None]]}
    ),
    "CombinedPrior.product": Call(
        CombinedPrior.product,
        {"priors": [prior()]},
        {"priors": [*LIST, [None]], "exponents": [3, "ab", [], ["a"], [None]]},
    ),
    **{
        f"ScorePrior.{name}": Call(
            getattr(prior(), name),
            {"x_t": X, "t": 0.5},
            {"x_t": TENSOR, "t": TIME, "condition": SEEN},
        )
        for name in ("epsilon", "score", "denoise")
    },
    "check_prior": Call(
        scoreregs.check_prior,
        {"prior": prior(), "data": X},
        {
            "prior": PRIOR,
            "data": [*TENSOR, X[:1], X * NAN, X[:1].expand(4, 2)],
            "condition": CONDITION,
            "batch_size": [v for v in COUNT if v is not None],
            "generator": GENERATOR,
        },
    ),
    "PriorReport.plot": Call(
        lambda **call: scoreregs.check_prior(gaussian(), X).plot(**call),
        {},
        {"path": [3, X]},
        of=scoreregs.PriorReport.plot,
    ),
    "fit_prior": Call(
        scoreregs.fit_prior,
        {"network": Net(), "data": X, "schedule": VPSchedule(), "steps": 1, "batch_size": 2},
        {
            "network": [*FUNCTION, torch.nn.Identity(), network, Net, None],
            "data": [*TENSOR, X * NAN],
            "schedule": SCHEDULE,
            "condition": CONDITION,
            "prediction": [*NAME, None],
            "time_map": FUNCTION,
            "times": RANGE,
            "steps": COUNT,
            "batch_size": COUNT,
            "learning_rate": POSITIVE,
            "generator": GENERATOR,
            "on_step": [3, "log", int],
        },
    ),
    "probability_flow.sample": Call(
        sample,
        {"prior": gaussian(), "shape": (2, 2)},
        {
            "prior": PRIOR,
            "shape": [None, 3, (3,), (0, 2), "ab", (2.0, 2), (True, 2), (2, 3)],
            "condition": SEEN,
            "times": RANGE,
            "tolerance": [*NUMBER, 0.0, 1.0],
            "generator": GENERATOR,
            "dtype": [torch.int64, "float32", None],
            "device": [None, 3.5, "nowhere"],
        },
    ),
    "probability_flow.log_density": Call(
        log_density,
        {"prior": gaussian(), "x": X},
        {
            "prior": PRIOR,
            "x": [*TENSOR, X[:, :1], X * NAN],
            "condition": [],
            "times": RANGE,
            "tolerance": [*NUMBER, 0.0, 1.0],
        },
    ),
}
