"""Objects read like their construction, results like their few figures: on a line."""

import inspect
import math

import pytest
import torch

import scoreregs
from scoreregs import (
    EmpiricalPrior,
    GaussianMixturePrior,
    GuidedPrior,
    NetworkPrior,
    RectifiedFlowSchedule,
    ScoreRegularizedObjective,
    Term,
    VPSchedule,
    times,
)
from scoreregs.betas import AnnealedBeta, TargetBeta
from scoreregs.reprs import short
from scoreregs.results import Diagnostics
from scoreregs.schedules import NoiseSchedule
from tests.core.test_wrong_calls import CALLS

# Tables and data sets, of which only the size is told.
SUMMED_UP = {"EmpiricalPrior", "GaussianMixturePrior", "TabulatedSchedule"}
X = torch.linspace(-1, 1, 512).reshape(256, 2)


def network(x_t, t, condition):
    return x_t


def total(x, condition):
    return x.sum(-1)


PRIOR = NetworkPrior(network, VPSchedule(), "v_prediction", modules=())
SCHEDULES = [
    "VPSchedule(beta_min=0.1, beta_max=20)",
    "SubVPSchedule(beta_min=0.2, beta_max=5)",
    "CosineSchedule(offset=0.008)",
    "RectifiedFlowSchedule(shift=3)",
    "VESchedule(sigma_min=0.01, sigma_max=50)",
    "EDMSchedule(sigma_min=0.002, sigma_max=80, rho=7)",
]


@pytest.mark.parametrize("told", SCHEDULES)
def test_a_schedule_is_its_construction(told):
    schedule = eval(told, dict(vars(scoreregs)))
    assert repr(schedule) == told


def test_a_schedule_of_ones_own_reads_as_well():
    class Mine(NoiseSchedule):
        def __init__(self, power=2):
            self.power = power

        def __call__(self, t):
            return 1 - t**self.power, t

    assert repr(Mine()) == "Mine(power=2)"


PRIORS = {
    "NetworkPrior(network=network, schedule=VPSchedule(beta_min=0.1, beta_max=20), "
    "prediction='v_prediction', modules=())": PRIOR,
    "GuidedPrior(prior=NetworkPrior(": GuidedPrior(PRIOR, 3.0, X[:1]),
    "(1 components of shape (2,), schedule=RectifiedFlowSchedule(shift=1))": GaussianMixturePrior(
        [1.0], [[0.0, 0.0]], torch.eye(2)[None], RectifiedFlowSchedule()
    ),
    "EmpiricalPrior(256 samples of shape (2,), schedule=": EmpiricalPrior(X, VPSchedule()),
    "NetworkPrior(network=Bilinear(...), ": NetworkPrior(torch.nn.Bilinear(2, 2, 2), VPSchedule()),
}


@pytest.mark.parametrize("told", PRIORS)
def test_a_prior_is_its_construction(told):
    text = repr(PRIORS[told])
    assert told in text
    assert "\n" not in text
    assert "tensor(" not in text
    assert len(text) < 300


def test_an_objective_is_its_construction():
    class Reach(ScoreRegularizedObjective):
        def value(self, x, condition):
            return x.sum(-1)

    told = repr(Reach(PRIOR, beta=0.1, draws=2))
    assert told.startswith("Reach(prior=NetworkPrior(network=network")
    assert "beta=0.1" in told
    assert "draws=2" in told
    assert "Sigma2()" in told
    assert "reduction" not in told
    assert "members" not in told
    assert "through_prior" not in told
    told = repr(Reach(PRIOR, beta=AnnealedBeta(1.0, [0.1, 0.2], 9), members=2, through_prior=True))
    assert "beta=AnnealedBeta(start=1, end=[0.1, 0.2], steps=9)" in told
    assert "members=2" in told
    assert "through_prior=True" in told
    told = repr(ScoreRegularizedObjective.from_value(total, PRIOR, beta=math.inf))
    assert told.startswith("ScoreRegularizedObjective.from_value(total, prior=NetworkPrior(")
    assert "beta=inf" in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "told",
    [
        "TargetBeta(ratio=1.5)",
        "TargetBeta(ratio=[1, 2], start=0.1, rate=0.01)",
        "FixedTime(t=0.3)",
        "LogSNRTimes(schedule=CosineSchedule(offset=0.008), low=-4, high=4, points='independent')",
        "ShiftedTimes(shift=3, low=0.02, high=0.98, points='independent')",
    ],
)
def test_a_beta_and_a_sampler_are_their_construction(told):
    names = {**vars(scoreregs), **vars(times), "TargetBeta": TargetBeta}
    assert repr(eval(told, names)) == told


def test_results_are_their_figures():
    objective = ScoreRegularizedObjective.from_value(
        lambda x: (x * torch.tensor([3.0, 4.0])).sum(-1), PRIOR, times=(0.1, 0.9)
    )
    result = objective(X, diagnostics=True)
    assert result.diagnostics is not None
    told = repr(result)
    assert "value_gradient_norm=5," in told
    cosine = result.diagnostics.cosine
    assert cosine is not None
    assert f"cosine={cosine.double().mean().item():.3g}" in told
    assert told.count("0.2-0.4: ") == 1
    assert "tensor(" not in told
    assert "\n" not in told
    assert len(told) < 400
    assert "value=" in repr(objective(X))
    assert "Diagnostics" not in repr(objective(X))


def test_a_result_without_numbers_has_its_shapes():
    empty = torch.ones(2, device="meta")
    assert "tensor of shape (2,)" in repr(Diagnostics(empty, None, None, None, None))


def test_short():
    assert short({"a": X, "b": [1.5, 2.0]}) == "{'a': tensor of shape (256, 2), 'b': [1.5, 2]}"
    assert short(list(range(9))) == "[0, 1, 2, 3, ...]"
    assert short(Term(PRIOR)).startswith("Term(prior=NetworkPrior(")


# A prediction is its name.
CLASSES = {
    name: call
    for name, call in CALLS.items()
    if inspect.isclass(call.function) and not call.function.__module__.endswith("predictions")
}


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_object_is_its_construction(name):
    """What is told are its arguments: all that were given, by their names."""
    call = CLASSES[name]
    told = repr(call.function(**call.right))
    assert told.startswith(f"{call.function.__name__}(")
    assert told.endswith(")")
    assert not any(sign in told for sign in ("\n", "tensor(", " object at 0x"))
    assert len(told) < 800
    if not isinstance(call.function, type) or call.function.__name__ not in SUMMED_UP:
        missing = [argument for argument in call.right if f"{argument}=" not in told]
        assert not missing, told
