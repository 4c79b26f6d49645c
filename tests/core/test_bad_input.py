"""Bad input gets one clear error of ours, which says got, expected and a remedy."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from scoreregs import (
    EmpiricalPrior,
    GaussianMixturePrior,
    GuidedPrior,
    NetworkPrior,
    NoiseSchedule,
    ScorePrior,
    ScoreRegularizedObjective,
    TabulatedSchedule,
    VPSchedule,
    check_prior,
    probability_flow,
)
from scoreregs.betas import AnnealedBeta, TargetBeta
from scoreregs.errors import (
    ArgumentError,
    PriorError,
    ScoreRegsError,
    SingularTimeError,
    ValueFunctionError,
)
from scoreregs.recipes import sds

SCHEDULE = VPSchedule()
NAN, INF = float("nan"), float("inf")
X = torch.linspace(-1, 1, 8).reshape(4, 2)
META = torch.device("meta")
EYE = torch.eye(2)[None]


def gaussian() -> GaussianMixturePrior:
    return GaussianMixturePrior([1.0], [[0.0, 0.0]], torch.eye(2)[None], SCHEDULE)


def total(x: Tensor, condition: Any = None) -> Tensor:
    return x.sum(-1)


def build(value: Any = total, prior: Any = None, **options: Any) -> ScoreRegularizedObjective:
    return ScoreRegularizedObjective.from_value(value, prior or gaussian(), **options)


def network(function: Callable[[Tensor], Any], prediction: Any = "epsilon") -> NetworkPrior:
    return NetworkPrior(lambda x_t, t, condition: function(x_t), SCHEDULE, prediction)


class Constant(ScorePrior):
    """A prior that returns whatever it is told to."""

    def __init__(self, output: Any, schedule: NoiseSchedule = SCHEDULE) -> None:
        super().__init__(schedule)
        self.output = output

    def predict(self, x_t, t, condition=None):
        return self.output


def sometimes_negative(level):
    return (level.t - 0.5) ** 2 - 0.1


# What is done, the error's exact class, and what its message has to say.
CASES: dict[str, tuple[Callable[[], object], type[ScoreRegsError], tuple[str, ...]]] = {
    # x
    "x of integers": (
        lambda: build()(torch.ones(4, 2, dtype=torch.int64)),
        ArgumentError,
        ("torch.int64", "floating point", "x.float()"),
    ),
    "x complex": (lambda: build()(X.to(torch.complex64)), ArgumentError, ("complex64", "floating")),
    "x a list": (lambda: build()([[1.0, 2.0]]), ArgumentError, ("list", "as_tensor(x)")),
    "x without an event": (lambda: build()(X[0]), ArgumentError, ("(2,)", "(batch, *event)")),
    "x a number": (lambda: build()(X[0, 0]), ArgumentError, ("()", "x[None]")),
    "x empty": (lambda: build()(X[:0]), ArgumentError, ("(0, 2)", "non-empty")),
    "x of empty events": (lambda: build()(X[:, :0]), ArgumentError, ("(4, 0)", "non-empty")),
    "x with NaN": (
        lambda: build()(torch.where(X[2, 0] == X, NAN, X)),
        ArgumentError,
        ("NaN or infinity in x", "row 2"),
    ),
    "x infinite": (lambda: build()(X * INF), ArgumentError, ("NaN or infinity in x",)),
    "x of another event": (
        lambda: build()(torch.ones(4, 3)),
        ArgumentError,
        ("(4, 3)", "(batch, 2)"),
    ),
    # condition
    "condition of another batch": (
        lambda: build()(X, X[:3]),
        ArgumentError,
        ("(3, 2)", "batch of 4", "expand"),
    ),
    "condition without a batch": (
        lambda: build()(X, torch.tensor(1.0)),
        ArgumentError,
        ("()", "batch of 4"),
    ),
    "nested condition of another batch": (
        lambda: build()(X, {"a": [X, (X[:1],)]}),
        ArgumentError,
        ("(1, 2)", "batch of 4"),
    ),
    "condition of another type": (
        lambda: build()(X, {"a": "left"}),
        ArgumentError,
        ("str", "torch.as_tensor"),
    ),
    "condition with NaN": (
        lambda: build()(X, {"a": X * NAN}),
        ArgumentError,
        ("NaN or infinity in the condition",),
    ),
    "condition elsewhere": (
        lambda: build()(X, X.to(META)),
        ArgumentError,
        ("condition on meta", "x on cpu", ".to('cpu')"),
    ),
    # temperatures that change, and members
    "a target without data": (
        lambda: build(beta=TargetBeta(1.0))(X),
        ArgumentError,
        ("without data", "data=samples"),
    ),
    "data that nothing looks at": (
        lambda: build()(X, data=X),
        ArgumentError,
        ("got data", "expected none", "TargetBeta"),
    ),
    "data of another shape": (
        lambda: build(beta=TargetBeta(1.0))(X, data=X[:3]),
        ArgumentError,
        ("(3, 2)", "(4, 2)", "same condition"),
    ),
    "data elsewhere": (
        lambda: build(beta=TargetBeta(1.0))(X, data=X.to(META)),
        ArgumentError,
        ("data on meta", "x on cpu"),
    ),
    "data with NaN": (
        lambda: build(beta=TargetBeta(1.0))(X, data=X * NAN),
        ArgumentError,
        ("NaN or infinity in data",),
    ),
    "a target of nothing": (lambda: TargetBeta([]), ArgumentError, ("ratio=[]", "> 0")),
    "a negative target": (lambda: TargetBeta(-1.0), ArgumentError, ("ratio=-1.0", "> 0")),
    "a target by name": (
        lambda: TargetBeta(cast(Any, "1")),
        ArgumentError,
        ("ratio='1'", "number"),
    ),
    "a rate of 1": (lambda: TargetBeta(1.0, rate=1.0), ArgumentError, ("rate=1.0", "(0, 1)")),
    "a decay of 1": (lambda: TargetBeta(1.0, decay=1.0), ArgumentError, ("decay=1.0", "[0, 1)")),
    "an end of 0": (lambda: AnnealedBeta(1.0, 0.0, 3), ArgumentError, ("end=0.0", "> 0")),
    "a budget for distillation": (
        lambda: build(None, beta=TargetBeta(1.0)),
        ArgumentError,
        ("value=None", "budget"),
    ),
    "temperatures for too few members": (
        lambda: build(beta=AnnealedBeta([1.0, 2.0], 1.0, 3))(X),
        ArgumentError,
        ("2 temperatures", "members=1"),
    ),
    "members of unequal size": (
        lambda: build(members=3)(X),
        ArgumentError,
        ("batch of 4", "members=3", "multiple"),
    ),
    "no members": (lambda: build(members=0), ArgumentError, ("members=0", "at least 1")),
    # through the prior
    "through the prior without noise": (
        lambda: build(through_prior=True, baseline="none"),
        ArgumentError,
        ("through_prior=True", "NoBaseline", 'baseline="noise"', "no loss"),
    ),
    "through a prior without gradient": (
        lambda: build(None, network(lambda x_t: x_t.detach()), through_prior=True)(X),
        PriorError,
        ("NetworkPrior", "differentiable", ".detach()"),
    ),
    # noise and times
    "noise with NaN": (
        lambda: build()(X, noise=X * NAN),
        ArgumentError,
        ("NaN or infinity in noise",),
    ),
    "noise of another shape": (
        lambda: build()(X, noise=X[:, :1]),
        ArgumentError,
        ("(4, 1)", "(4, 2)", "(draws, 4, 2)"),
    ),
    "noise of too many dimensions": (
        lambda: build()(X, noise=X[None, None]),
        ArgumentError,
        ("(1, 1, 4, 2)", "(draws, 4, 2)"),
    ),
    "noise of integers": (
        lambda: build()(X, noise=X.long()),
        ArgumentError,
        ("noise", "int64", "floating point"),
    ),
    "noise elsewhere": (
        lambda: build()(X, noise=X.to(META)),
        ArgumentError,
        ("noise on meta", "x on cpu"),
    ),
    "noise a list": (lambda: build()(X, noise=[1.0]), ArgumentError, ("noise", "list", "tensor")),
    "noise of no draws": (
        lambda: build()(X, noise=torch.zeros(0, 4, 2)),
        ArgumentError,
        ("0 draws", "at least one"),
    ),
    "t of no draws": (
        lambda: build()(X, t=torch.zeros(0, 4)),
        ArgumentError,
        ("0 draws", "at least one"),
    ),
    "t and noise of different draws": (
        lambda: build()(X, t=torch.full((3, 4), 0.5), noise=X.expand(2, 4, 2)),
        ArgumentError,
        ("2 and 3 draws", "as many"),
    ),
    "t of another batch": (
        lambda: build()(X, t=torch.full((3,), 0.5)),
        ArgumentError,
        ("(3,)", "(4,)", "(draws, 4)"),
    ),
    "t of integers": (
        lambda: build()(X, t=torch.tensor([1, 2, 3, 4])),
        ArgumentError,
        ("int64", "(k + 1) / N"),
    ),
    "t a list": (lambda: build()(X, t=[0.1] * 4), ArgumentError, ("list", "torch.as_tensor")),
    "t a string": (lambda: build()(X, t="now"), ArgumentError, ("str",)),
    "t with NaN": (lambda: build()(X, t=NAN), ArgumentError, ("nan", "[0, 1]")),
    "t a step": (lambda: build()(X, t=500.0), ArgumentError, ("500", "[0, 1]", "(k + 1) / N")),
    "t negative": (lambda: build()(X, t=-0.1), ArgumentError, ("-0.1", "[0, 1]")),
    "t elsewhere": (
        lambda: build()(X, t=torch.full((4,), 0.5, device=META)),
        ArgumentError,
        ("t on meta", "x on cpu"),
    ),
    "t singular": (
        lambda: build(weighting="alpha_over_sigma")(X, t=0.0),
        SingularTimeError,
        ("t = 0", "AlphaOverSigma", "narrow the time range"),
    ),
    # options
    "beta zero": (lambda: build(beta=0), ArgumentError, ("beta=0", "> 0")),
    "beta negative": (lambda: build(beta=-1.0), ArgumentError, ("beta=-1.0", "> 0")),
    "beta NaN": (lambda: build(beta=NAN), ArgumentError, ("beta=nan", "> 0")),
    "beta a bool": (lambda: build(beta=True), ArgumentError, ("beta=True", "number")),
    "beta a string": (lambda: build(beta="1"), ArgumentError, ("beta='1'", "number")),
    "beta infinite on the value": (
        lambda: build(beta=INF, beta_on="value"),
        ArgumentError,
        ("infinite", 'beta_on="prior"'),
    ),
    "beta changed to zero": (
        lambda: setattr(build(), "beta", 0.0),
        ArgumentError,
        ("beta=0.0", "> 0"),
    ),
    "no value and no prior": (
        lambda: build(None, beta=INF),
        ArgumentError,
        ("value=None", "finite beta"),
    ),
    "no value to normalise by": (
        lambda: build(None, normalize="l2"),
        ArgumentError,
        ("value=None", "normalize"),
    ),
    "normalize unknown": (lambda: build(normalize="l1"), ArgumentError, ("'l1'", "'l2', 'rms'")),
    "beta_on unknown": (lambda: build(beta_on="q"), ArgumentError, ("'q'", "'prior', 'value'")),
    "reduction unknown": (lambda: build(reduction="max"), ArgumentError, ("'max'", "'mean'")),
    "weighting unknown": (lambda: build(weighting="sigma"), ArgumentError, ("'sigma'", "'sigma2'")),
    "weighting None": (lambda: build(weighting=None), ArgumentError, ("None", "'sigma2'")),
    "weighting a number": (
        lambda: build(weighting=lambda level: 1.0),
        ArgumentError,
        ("float from a weighting", "level.sigma ** 2"),
    ),
    "weighting negative": (
        lambda: build(weighting=lambda level: -level.sigma),
        SingularTimeError,
        ("CustomWeighting", ">= 0"),
    ),
    "weighting negative between the ends": (
        lambda: build(weighting=sometimes_negative)(X, t=0.5),
        SingularTimeError,
        ("CustomWeighting", ">= 0"),
    ),
    "weighting negative at a drawn time": (
        lambda: build(weighting=sometimes_negative, draws=50)(X),
        SingularTimeError,
        ("CustomWeighting", ">= 0"),
    ),
    "baseline unknown": (lambda: build(baseline="eps"), ArgumentError, ("'eps'", "'noise'")),
    "baseline a list": (lambda: build(baseline=["none"]), ArgumentError, ("['none']", "'noise'")),
    "times reversed": (
        lambda: build(times=(0.9, 0.1)),
        ArgumentError,
        ("(0.9, 0.1)", "low < high"),
    ),
    "times beyond 1": (lambda: build(times=(0.02, 1.1)), ArgumentError, ("1.1", "high <= 1")),
    "times below 0": (lambda: build(times=(-0.1, 0.9)), ArgumentError, ("-0.1", "0 <= low")),
    "times empty": (lambda: build(times=(0.5, 0.5)), ArgumentError, ("0.5", "low < high")),
    "times NaN": (lambda: build(times=(NAN, 0.9)), ArgumentError, ("nan", "expected a number")),
    "times of strings": (lambda: build(times=("a", "b")), ArgumentError, ("('a', 'b')", "range")),
    "times of three": (lambda: build(times=(0.1, 0.2, 0.3)), ArgumentError, ("0.3", "range")),
    "times a bool": (lambda: build(times=True), ArgumentError, ("times=True", "range")),
    "fixed time beyond 1": (lambda: build(times=1.5), ArgumentError, ("1.5", "[0, 1]")),
    "fixed time NaN": (lambda: build(times=NAN), ArgumentError, ("nan", "expected a number")),
    "times singular": (
        lambda: build(weighting="alpha_over_sigma", times=(0.0, 1.0)),
        SingularTimeError,
        ("t = 0", "AlphaOverSigma", "narrow the time range"),
    ),
    "draws zero": (lambda: build(draws=0), ArgumentError, ("draws=0", "at least 1")),
    "draws a float": (lambda: build(draws=2.0), ArgumentError, ("draws=2.0", "integer")),
    "draws a bool": (lambda: build(draws=True), ArgumentError, ("draws=True", "integer")),
    "generator elsewhere": (
        lambda: build(generator=SimpleNamespace(device=torch.device("cuda:0")))(X),
        ArgumentError,
        ("generator on cuda:0", "x on cpu", "torch.Generator(device='cpu')"),
    ),
    "prior a network": (
        lambda: build(prior=torch.nn.Identity()),
        ArgumentError,
        ("Identity", "scoreregs.NetworkPrior"),
    ),
    "prior a class": (lambda: build(prior=NetworkPrior), ArgumentError, ("type", "ScorePrior")),
    "value a number": (lambda: build(3.0), ArgumentError, ("float", "(x, condition)")),
    # what the prior returns
    "prior returns a tuple": (
        lambda: build(prior=network(lambda x: (x, x)))(X),
        PriorError,
        ("tuple", "(4, 2)", "output[0]"),
    ),
    "prior returns another shape": (
        lambda: build(prior=network(lambda x: torch.cat([x, x], 1)))(X),
        PriorError,
        ("(4, 4)", "(4, 2)", "first half"),
    ),
    "prior returns another batch": (
        lambda: build(prior=network(lambda x: x[:1]))(X),
        PriorError,
        ("(1, 2)", "(4, 2)"),
    ),
    "prior returns integers": (
        lambda: build(prior=network(lambda x: x.long()))(X),
        PriorError,
        ("int64", "floating"),
    ),
    "prior returns None": (lambda: build(prior=Constant(None))(X), PriorError, ("NoneType",)),
    "prior returns NaN": (
        lambda: build(prior=network(lambda x: x * NAN))(X),
        PriorError,
        ("from the prior", "finite"),
    ),
    "prior elsewhere": (
        lambda: build(prior=network(lambda x: x.to(META)))(X),
        PriorError,
        ("on meta", "cpu", "move the network"),
    ),
    # what the value returns
    "value of a wrong shape": (
        lambda: build(lambda x, c: x.sum(-1, keepdim=True))(X),
        ValueFunctionError,
        ("(4, 1)", "(4,)", ".squeeze(-1)"),
    ),
    "value a scalar": (lambda: build(lambda x, c: x.sum())(X), ValueFunctionError, ("()", "(4,)")),
    "value returns a float": (lambda: build(lambda x, c: 1.0)(X), ValueFunctionError, ("float",)),
    "value returns a tuple": (
        lambda: build(lambda x, c: (total(x), total(x)))(X),
        ValueFunctionError,
        ("tuple", "(4,)"),
    ),
    "value constant": (
        lambda: build(lambda x, c: torch.ones(4))(X),
        ValueFunctionError,
        ("depend on x", ".detach()"),
    ),
    "value detached": (
        lambda: build(lambda x, c: total(x.detach()))(X),
        ValueFunctionError,
        ("depend on x",),
    ),
    "value of its parameters alone": (
        lambda: build(lambda x, c: torch.ones(4, requires_grad=True) * 2)(X),
        ValueFunctionError,
        ("depend on x",),
    ),
    "value elsewhere": (
        lambda: build(lambda x, c: total(x.to(META)))(X),
        ValueFunctionError,
        ("value on meta", "x on cpu", "move"),
    ),
    "value with NaN": (
        lambda: build(lambda x, c: total(x) * NAN)(X),
        ValueFunctionError,
        ("from the value", "finite"),
    ),
    "value whose gradient is NaN": (
        lambda: build(lambda x, c: (x - x.detach()).norm(dim=-1).sqrt())(X),
        ValueFunctionError,
        ("value's gradient", "sqrt"),
    ),
    "value in inference mode": (
        lambda: torch.inference_mode()(build())(X),
        ArgumentError,
        ("inference_mode", "torch.no_grad()"),
    ),
    # priors and schedules
    "prediction unknown": (
        lambda: network(lambda x: x, "eps"),
        ArgumentError,
        ("'eps'", "'epsilon'"),
    ),
    "prediction a list": (lambda: network(lambda x: x, []), ArgumentError, ("[]", "'epsilon'")),
    "schedule a class": (
        lambda: NetworkPrior(lambda *_: X, VPSchedule),  # pyright: ignore[reportArgumentType]
        ArgumentError,
        ("an instance, not the class",),
    ),
    **{
        f"{name} on the meta device": (act, ArgumentError, (f"got {name} ", "meta", "no values"))
        for name, act in {
            "x": lambda: build()(X.to(META)),
            "x_t": lambda: gaussian().epsilon(X.to(META), 0.5),
            "times": lambda: gaussian().epsilon(X, torch.full((4,), 0.5, device=META)),
            "data": lambda: EmpiricalPrior(X.to(META), SCHEDULE),
            "the data": lambda: check_prior(gaussian(), X.to(META)),
            "means": lambda: GaussianMixturePrior([1.0], X[:1].to(META), EYE, SCHEDULE),
            "alphas_cumprod": lambda: TabulatedSchedule.from_alphas_cumprod(X[:, 0].to(META)),
        }.items()
    },
    "samples on the meta device": (
        lambda: probability_flow.sample(gaussian(), (4, 2), device=META),
        ArgumentError,
        ("device='meta'", "no values"),
    ),
    "weights in words": (
        lambda: GaussianMixturePrior(["one"], X[:1], EYE, SCHEDULE),
        ArgumentError,
        ("got weights ['one']",),
    ),
    "ragged means": (
        lambda: GaussianMixturePrior([0.5, 0.5], [[0.0], [0.0, 1.0]], EYE, SCHEDULE),
        ArgumentError,
        ("got means [[0.0], [0.0, 1.0]]",),
    ),
    "a table in words": (
        lambda: TabulatedSchedule.from_alphas_cumprod(["one", "two"]),  # pyright: ignore[reportArgumentType]
        ArgumentError,
        ("got alphas_cumprod ['one', 'two']",),
    ),
    "network no callable": (
        lambda: NetworkPrior(3, SCHEDULE),  # pyright: ignore[reportArgumentType]
        ArgumentError,
        ("network", "int", "callable"),
    ),
    "time map no callable": (
        lambda: NetworkPrior(lambda *_: X, SCHEDULE, time_map=1000),  # pyright: ignore[reportArgumentType]
        ArgumentError,
        ("time_map", "int", "callable"),
    ),
}


@pytest.mark.parametrize(("act", "error", "says"), CASES.values(), ids=list(CASES))
def test_bad_input(act, error, says):
    with pytest.raises(ScoreRegsError) as caught:
        act()
    assert type(caught.value) is error
    message = str(caught.value)
    assert message.startswith("got ")
    for words in says:
        assert words in message


def test_every_error_says_what_is_expected():
    for act, *_ in CASES.values():
        with pytest.raises(ScoreRegsError, match=r"expected|depend on x"):
            act()


def test_argument_errors_are_value_errors():
    with pytest.raises(ValueError, match="beta"):
        build(beta=0)
    assert issubclass(SingularTimeError, ArgumentError)
    assert not issubclass(PriorError, ValueError)


def test_values_are_checked_at_the_first_call_and_with_diagnostics():
    """A later call does not wait for the device, unless diagnostics are asked for."""
    objective = build()
    objective(X)
    assert not math.isfinite(objective(X * NAN).loss.item())
    with pytest.raises(ArgumentError, match="NaN or infinity in x"):
        objective(X * NAN, diagnostics=True)


def test_shapes_are_checked_at_every_call():
    objective = build()
    objective(X)
    with pytest.raises(ArgumentError, match="batch of 4"):
        objective(X, X[:3])
    with pytest.raises(ArgumentError, match=r"\[0, 1\]"):
        objective(X, t=2.0)


RAGGED = [torch.ones(length, 2) for length in (1, 2, 3, 4)]
JAGGED = torch.nested.nested_tensor(RAGGED, layout=torch.jagged)


@pytest.mark.parametrize("condition", [X.to_sparse(), torch.nested.nested_tensor(RAGGED)])
def test_a_condition_without_a_dense_batch_is_refused(condition):
    with pytest.raises(ArgumentError, match="dense"):
        build()(X, {"text": condition})


def test_rows_of_other_lengths_are_passed_on_where_torch_can():
    seen = []

    def network(x_t, t, condition):
        seen.append(condition)
        return x_t

    prior = NetworkPrior(network, VPSchedule(), modules=())
    sds(prior)(X, JAGGED)
    assert seen[0].is_nested
    with pytest.raises(ArgumentError, match="draws=1"):
        sds(prior, draws=2)(X, JAGGED)
    with pytest.raises(ArgumentError, match="pad them"):
        sds(GuidedPrior(prior, 2.0, JAGGED))(X, JAGGED)


@pytest.mark.parametrize("method", ["epsilon", "denoise", "score"])
def test_a_prior_takes_a_condition_of_one_row_or_of_each(method):
    prior = NetworkPrior(lambda x_t, t, c: c["goal"].expand(x_t.shape), SCHEDULE, modules=())
    goals = X[:1].expand(4, 2)
    evaluate = getattr(prior, method)
    assert torch.equal(evaluate(X, 0.5, {"goal": X[:1]}), evaluate(X, 0.5, {"goal": goals}))
    for goal in (X[:3], torch.tensor(1.0)):
        with pytest.raises(ArgumentError, match="1 or 4 rows"):
            evaluate(X, 0.5, {"goal": goal})


class OfX(ScoreRegularizedObjective):
    def value(self, x):  # pyright: ignore[reportIncompatibleMethodOverride]
        return x.sum(-1)


class OfTime(ScorePrior):
    def predict(self, x_t, t):  # pyright: ignore[reportIncompatibleMethodOverride]
        return x_t


class Unmade(ScorePrior):
    def __init__(self) -> None:
        pass

    def predict(self, x_t, t, condition=None):
        return x_t


class Alone(NoiseSchedule):
    def __call__(self, t):  # pyright: ignore[reportIncompatibleMethodOverride]
        return 1 - t


class Reversed(NoiseSchedule):
    """As in much of flow matching, where t = 1 is the data."""

    def __call__(self, t):
        return t, 1 - t


def weighted(weighting: Any) -> ScoreRegularizedObjective:
    return sds(gaussian(), weighting=weighting)


OWN: dict[str, tuple[Callable[[], Any], str]] = {
    "a value without a condition": (lambda: OfX(gaussian()), r"def value\(self, x, condition\)"),
    "a prior without one": (lambda: OfTime(SCHEDULE), r"def predict\(self, x_t, t, condition\)"),
    "a prior that is not made": (lambda: sds(Unmade()), r"super\(\).__init__"),
    "a schedule of one number": (lambda: Constant(X, Alone()), r"return \(alpha, sigma\)"),
    "a reversed schedule": (lambda: Constant(X, Reversed()), "give it 1 - t"),
    "a weight of two": (lambda: weighted(lambda a, b: a), "NoiseLevel alone"),
    "a weight of time": (lambda: weighted(lambda t: t**2), r"level\.t \*\* 2"),
}


@pytest.mark.parametrize("name", OWN)
def test_a_part_of_ones_own_that_does_not_fit_is_refused_when_it_is_plugged_in(name):
    make, message = OWN[name]
    with pytest.raises(ArgumentError, match=message):
        make()
