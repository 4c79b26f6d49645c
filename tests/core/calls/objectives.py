"""Calls of objectives, of the kernel under them and of the recipes on top."""

from typing import Any

import numpy as np
import torch

from scoreregs import ScoreRegularizedObjective, VPSchedule, recipes
from scoreregs.baselines import NoiseBaseline
from scoreregs.betas import AnnealedBeta, TargetBeta
from scoreregs.distillation import Distillation
from scoreregs.inverse import flow_dps, pnp_flow
from scoreregs.kernel import denoising_loss, regularized_gradient, weighted_residual
from scoreregs.weightings import Sigma2
from tests.core.calls.values import (
    CONDITION,
    COUNT,
    GENERATOR,
    GIVEN,
    INF,
    NAME,
    NAN,
    NUMBER,
    OPTIONS,
    POSITIVE,
    PRIOR,
    RANGE,
    TENSOR,
    TIME,
    VALUE,
    Call,
    Net,
    X,
    gaussian,
    objective,
    prior,
    total,
)

OF_X: dict[str, list[Any]] = {
    "x": [*TENSOR, X * NAN],
    "condition": CONDITION,
    "t": [*TIME[:1], *TIME[2:]],
    "noise": GIVEN,
    "beta": [3, "1", X, -torch.ones(4)],
    "data": [*GIVEN, X],
    "diagnostics": ["yes", None, 3],
}
# Recipes only pass these on.
PASSED = {name: values[:1] for name, values in OPTIONS.items()}
CHOSEN: list[Any] = ["left", 3, np.ones(2), None]

RECIPES = {
    "srpo": ({"value": total}, {"value": [*VALUE, None]}),
    "sds": ({}, {}),
    "sjc": ({}, {}),
    "rfds": ({}, {}),
    "csd": ({"null": X[:1]}, {"null": CHOSEN}),
    "nfsd": (
        {"null": X[:1], "negative": X[:1]},
        {"null": CHOSEN, "negative": CHOSEN, "scale": [*NUMBER, INF]},
    ),
    "dds": (
        {"reference": X, "condition": X},
        {"reference": [None, 3, "x", np.ones((4, 2)), X.long()], "condition": CHOSEN[:-1]},
    ),
    "red_diff": ({"value": total, "steps": 3}, {"value": [*VALUE, None], "steps": COUNT}),
    "dtql": ({"value": total}, {"value": [*VALUE, None], "sigma_data": POSITIVE}),
    "vsd": ({"fake": prior()}, {"fake": PRIOR, "value": VALUE}),
    "diff_instruct": ({"fake": prior()}, {"fake": PRIOR, "value": VALUE}),
    "sid": ({"fake": prior()}, {"fake": PRIOR, "value": VALUE, "a": POSITIVE}),
    "di_star": (
        {"value": total, "fake": prior()},
        {"value": [*VALUE, None], "fake": PRIOR, "huber": POSITIVE},
    ),
}


def distillation() -> Distillation:
    """Returns a distillation of one network into another."""
    network, generator = Net(), Net()
    loss, fit = recipes.vsd(prior(), gaussian())
    return Distillation(
        lambda z, condition: generator(z, None),
        loss,
        lambda x, condition: fit(x, condition) + 0 * network(x, None).sum(),
        optimizer=torch.optim.Adam(generator.parameters()),
        fake_optimizer=torch.optim.Adam(network.parameters()),
    )


PARTS = distillation()
SOLVED = {
    "value": [*VALUE, None],
    "prior": PRIOR,
    "start": [*TENSOR, X * NAN],
    "condition": CONDITION,
    "steps": COUNT,
    "step_size": POSITIVE,
    "times": [*RANGE, (0.0, 0.5)],
    "generator": GENERATOR,
}
CALLED = {
    "prior": PRIOR,
    "x": TENSOR,
    "condition": ["left", 3],
    "t": ["now", 0.5, None, torch.ones(3), torch.ones(4).long()],
    "noise": [None, *GIVEN],
}
RIGHT: dict[str, Any] = {
    "prior": prior(),
    "x": X,
    "condition": None,
    "t": torch.full((4,), 0.5),
    "noise": X,
}

CALLS = {
    "ScoreRegularizedObjective.from_value": Call(
        ScoreRegularizedObjective.from_value,
        {"value": total, "prior": prior()},
        {
            "value": VALUE,
            "prior": PRIOR,
            **OPTIONS,
            "beta": [*OPTIONS["beta"], TargetBeta],
        },
        of=ScoreRegularizedObjective,
    ),
    "ScoreRegularizedObjective": Call(
        lambda **call: objective()(**call),
        {"x": X},
        OF_X,
        of=ScoreRegularizedObjective.forward,
    ),
    "ScoreRegularizedObjective of a budget": Call(
        lambda **call: objective(beta=TargetBeta(1.0))(**call),
        {"x": X, "data": X},
        {"data": [*GIVEN, None, X * NAN]},
    ),
    "ScoreRegularizedObjective of members": Call(
        lambda **call: objective(members=2, beta=AnnealedBeta([1.0, 2.0], 0.1, 3))(**call),
        {"x": X},
        {"x": [*TENSOR, X[:3]]},
    ),
    **{
        f"recipes.{name}": Call(
            getattr(recipes, name), {"prior": prior(), **right}, {"prior": PRIOR, **wrong, **PASSED}
        )
        for name, (right, wrong) in RECIPES.items()
    },
    "distillation.Distillation": Call(
        Distillation,
        {
            "generator": PARTS.generator,
            "objective": PARTS.objective,
            "fit": PARTS.fit,
            "optimizer": PARTS.optimizer,
            "fake_optimizer": PARTS.fake_optimizer,
        },
        {
            "generator": [None, 3, "g", Net],
            "objective": [None, 3, prior(), total],
            "fit": [None, 3, "fit"],
            "optimizer": [None, "adam", [X], torch.optim.Adam],
            "fake_optimizer": [None, "adam", [X], torch.optim.Adam],
            "fake_steps": COUNT,
        },
    ),
    "distillation.Distillation.step": Call(
        PARTS.step,
        {"draw": lambda: (X, None)},
        {"draw": [None, 3, (X, None), lambda: X, lambda: None]},
    ),
    "inverse.pnp_flow": Call(
        pnp_flow,
        {"value": total, "prior": gaussian(), "start": X, "steps": 2},
        {**SOLVED, "decay": [*NUMBER, -1.0, INF], "draws": COUNT},
    ),
    "inverse.flow_dps": Call(
        flow_dps,
        {"value": total, "prior": gaussian(), "start": X, "steps": 2},
        {**SOLVED, "ascent": COUNT},
    ),
    "kernel.denoising_loss": Call(denoising_loss, RIGHT, CALLED),
    "kernel.weighted_residual": Call(
        weighted_residual,
        {**RIGHT, "weighting": Sigma2(), "baseline": NoiseBaseline()},
        {
            **CALLED,
            "weighting": ["sigma2", None, Sigma2, VPSchedule()],
            "baseline": ["noise", None, NoiseBaseline],
        },
    ),
    "kernel.regularized_gradient": Call(
        regularized_gradient,
        {"value_gradient": X, "residual": X},
        {
            "value_gradient": [3, "x", np.ones((4, 2)), X[:, :1]],
            "residual": [3, "x", np.ones((4, 2)), X[:, :1]],
            "beta": [*NUMBER, 0.0, -1.0],
            "normalize": NAME,
            "beta_on": [*NAME, None],
            "members": [*COUNT, 3],
        },
    ),
}
