"""A network of one's own, however it is wrapped: found, in eval mode, in its dtype; or said."""

import collections
import dataclasses
import functools
import logging
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from scoreregs import (
    DenoiserPrior,
    EDMPrior,
    GuidedPrior,
    NetworkPrior,
    ScorePrior,
    ScoreRegularizedObjective,
    VPSchedule,
)
from scoreregs.discovery import modules_of
from scoreregs.errors import ArgumentError, PriorError, ValueFunctionError
from scoreregs.options import ValueFunction

SCHEDULE = VPSchedule()
X = torch.linspace(-1, 1, 8).reshape(4, 2)


class Watched(nn.Module):
    """A network in double precision that remembers in which mode and dtype it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2).double()
        self.modes: list[bool] = []

    def forward(self, x_t: Tensor, t: Tensor, condition: object = None) -> Tensor:
        self.modes.append(self.training)
        return self.layer(x_t)


GLOBAL = Watched()
REGISTRY = {"networks": [GLOBAL]}


def helper(x_t: Tensor, t: Tensor) -> Tensor:
    return GLOBAL(x_t, t)


class Agent:
    """Not a module, but it has one."""

    def __init__(self, network: nn.Module) -> None:
        self.models = {"ema": network}

    def denoise(self, x_t, t, condition):
        return self.models["ema"](x_t, t)

    def __call__(self, x_t, t, condition):
        return self.denoise(x_t, t, condition)


def of_default(network):
    def call(x_t, t, condition, network=network):
        return network(x_t, t)

    return call


def of_keyword_default(network):
    def call(x_t, t, condition, *, network=network):
        return network(x_t, t)

    return call


def of_inner(network):
    def outer(x_t, t, condition):
        def inner():
            return network(x_t, t)

        return inner()

    return lambda x_t, t, condition: outer(x_t, t, condition)


def decorated(network):
    @torch.no_grad()
    def call(x_t, t, condition):
        return network(x_t, t)

    return call


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    """Without a dictionary of its own."""

    network: nn.Module

    def __call__(self, x_t, t, condition):
        return self.network(x_t, t)


def class_with(network):
    """A class that holds a network, and ways to it."""

    class Holder:
        held = network

        def __call__(self, x_t, t, condition):
            return self.by_name(x_t, t)

        def by_name(self, x_t, t):
            return self.held(x_t, t)

        @classmethod
        def of_class(cls, x_t, t, condition):
            return cls.held(x_t, t)

        @staticmethod
        def of_none(x_t, t, condition):
            return network(x_t, t)

        @property
        def model(self):
            return network

        def of_property(self, x_t, t, condition):
            return self.model(x_t, t)

    return Holder


def cached(network):
    @functools.cache
    def call(x_t, t, condition):
        return network(x_t, t)

    return call


def any_of(held):
    return lambda x_t, t, condition: next(iter(held))(x_t, t)


def of_a_class(network):
    holder = class_with(network)
    return lambda x_t, t, condition: holder.held(x_t, t)


WRAPS = {
    "the module": lambda m: m,
    "its method": lambda m: m.forward,
    "partial": lambda m: functools.partial(m, condition=None),
    "lambda": lambda m: lambda x_t, t, condition: m(x_t, t),
    "without a condition": lambda m: lambda x_t, t: m(x_t, t),
    "default": of_default,
    "keyword default": of_keyword_default,
    "inner function": of_inner,
    "decorated": decorated,
    "partial of a lambda": lambda m: functools.partial(lambda n, x_t, t, c: n(x_t, t), m),
    "method of an object": lambda m: Agent(m).denoise,
    "callable object": lambda m: Agent(m),
    "closure of an object": lambda m: (lambda agent: lambda x_t, t, c: agent(x_t, t, c))(Agent(m)),
    "slots": Slotted,
    "attribute of a class": lambda m: class_with(m)(),
    "class": of_a_class,
    "class method": lambda m: class_with(m).of_class,
    "static method": lambda m: class_with(m).of_none,
    "property": lambda m: class_with(m)().of_property,
    "cache": cached,
    "set": lambda m: any_of({m}),
    "deque": lambda m: any_of(collections.deque([m])),
    "list": lambda m: (lambda held: lambda x_t, t, c: held[0](x_t, t))([m]),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=list(WRAPS))
def test_the_module_inside_is_found(wrap):
    network = Watched().train()
    prior = NetworkPrior(wrap(network), SCHEDULE)
    assert [id(m) for m in prior.networks()] == [id(network)]
    # A float32 x in a float64 network: without its dtype the layer fails.
    assert prior.epsilon(X, 0.5).dtype == torch.float32
    assert network.modes == [False]
    assert network.training


@pytest.mark.parametrize(
    "function",
    [
        lambda x_t, t, condition: GLOBAL(x_t, t),
        lambda x_t, t, condition: helper(x_t, t),
        lambda x_t, t, condition: REGISTRY["networks"][0](x_t, t),
    ],
    ids=["global", "global of a helper", "global registry"],
)
def test_a_module_that_a_function_refers_to_is_found(function):
    GLOBAL.train()
    GLOBAL.modes.clear()
    assert NetworkPrior(function, SCHEDULE).epsilon(X, 0.5).dtype == torch.float32
    assert GLOBAL.modes == [False]
    assert GLOBAL.training


class OwnPrior(ScorePrior):
    """Refers to its network, and has none."""

    def predict(self, x_t, t, condition=None):
        return self.call(x_t, t)

    def call(self, x_t, t):
        return GLOBAL(x_t.double(), t)


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: GuidedPrior(p, 2.0, X)])
def test_a_module_that_a_prior_of_ones_own_refers_to_is_found(wrap):
    GLOBAL.train()
    GLOBAL.modes.clear()
    wrap(OwnPrior(SCHEDULE)).epsilon(X, 0.5, X)
    assert GLOBAL.modes == [False]
    assert GLOBAL.training


def test_a_prior_that_is_read_from_a_string_is_searched_too():
    names = {"ScorePrior": ScorePrior, "network": GLOBAL}
    source = "class Own(ScorePrior):\n def predict(self, x_t, t, c=None): return network(x_t, t)"
    exec(source, names)
    assert list(names["Own"](SCHEDULE).networks()) == [GLOBAL]


def test_a_module_that_is_replaced_is_found_again():
    held = [Watched()]
    prior = NetworkPrior(lambda x_t, t, condition: held[0](x_t, t), SCHEDULE)
    prior.epsilon(X, 0.5)
    held[0] = Watched()
    prior.epsilon(X, 0.5)
    assert held[0].modes == [False]


@pytest.mark.parametrize("make", [NetworkPrior, EDMPrior, DenoiserPrior])
def test_a_hidden_module_is_given(make):
    network = Watched().train()
    hidden = iter([network] * 3)
    prior = make(lambda x_t, t, condition: next(hidden)(x_t, t), SCHEDULE, modules=[network])
    prior.epsilon(X, 0.5)
    assert network.modes == [False]
    assert [id(m) for m in prior.networks()] == [id(network)]


def test_modules_of_several_dtypes_leave_x_in_its_own():
    half, single = nn.Linear(2, 2).half(), nn.Linear(2, 2)
    seen = []

    def network(x_t, t, condition):
        seen.append(x_t.dtype)
        return single(x_t) + 0 * half.weight.sum()

    NetworkPrior(network, SCHEDULE).epsilon(X, 0.5)
    assert seen == [torch.float32]


def test_weights_that_are_kept_in_an_eighth_of_a_word_are_not_computed_in_it():
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept = nn.Parameter(torch.eye(2).to(torch.float8_e4m3fn), requires_grad=False)
            self.layer = nn.Linear(2, 2).double()

        def forward(self, x_t, t):
            return self.layer(x_t @ self.kept.to(x_t.dtype))

    assert NetworkPrior(Cast(), SCHEDULE).epsilon(X, 0.5).dtype == torch.float32


def test_it_is_said_once_where_no_module_is_found(caplog):
    def network(x_t, t, condition):
        return x_t

    with caplog.at_level(logging.WARNING):
        NetworkPrior(network, SCHEDULE)
        NetworkPrior(network, SCHEDULE)
    assert [record.message for record in caplog.records if "modules=[it]" in record.message] == [
        caplog.records[0].message
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        NetworkPrior(lambda x_t, t, condition: 2 * x_t, SCHEDULE, modules=())
        NetworkPrior(Watched(), SCHEDULE)
    assert not caplog.records


def test_the_search_ends_in_a_circle():
    agent = Agent(Watched())
    agent.models["agent"] = agent  # pyright: ignore[reportArgumentType]
    assert len(list(modules_of(agent.denoise))) == 1
    prior = NetworkPrior(agent, SCHEDULE)
    agent.models["prior"] = prior  # pyright: ignore[reportArgumentType]
    assert len(list(prior.networks())) == 1


@pytest.mark.parametrize(
    "network",
    [
        lambda x_t, t: x_t.mul_(2),
        lambda x_t, t: nn.functional.relu(x_t, inplace=True),
        lambda x_t, t: x_t + 0 * t.mul_(2)[:, None],
    ],
    ids=["x_t", "a layer", "t"],
)
def test_a_network_that_writes_to_its_input_is_refused(network):
    """Else a sample prediction would be turned to noise with an x_t that is no longer it."""
    x = X.double()
    prior = NetworkPrior(network, SCHEDULE, "sample", modules=())
    with pytest.raises(PriorError, match=r"in place.*clone"):
        ScoreRegularizedObjective.from_value(None, prior)(x)
    with torch.inference_mode():
        NetworkPrior(lambda x_t, t: x_t, SCHEDULE, modules=()).epsilon(x.clone(), 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": nn.ModuleList([nn.Linear(2, 2)])}, "no forward"),
        ({"network": nn.Linear(2, 2).forward}, "takes neither"),
        ({"time_map": lambda t, condition: t}, "does not take t alone"),
        ({"prediction": "velocity"}, "'flow_prediction' here, else 'v_prediction'"),
    ],
)
def test_what_cannot_be_called_is_refused_when_the_prior_is_made(options, message):
    with pytest.raises(ArgumentError, match=message):
        NetworkPrior(**{"network": Watched(), "schedule": SCHEDULE} | options)


class TestWithoutACondition:
    class Plain(nn.Module):
        def forward(self, x_t, t):
            return x_t * t[:, None]

    @pytest.mark.parametrize("wrap", [lambda m: m, lambda m: m.forward, torch.compile])
    def test_is_plugged_in_as_it_is(self, wrap):
        prior = NetworkPrior(wrap(self.Plain()), SCHEDULE)
        if wrap is torch.compile:  # whose call needs a compiler
            assert prior._takes_condition is False
            return
        for condition in (None, X):
            torch.testing.assert_close(prior.epsilon(X, 0.5, condition), X / 2)

    @pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda m: torch.jit.trace(m, (X, torch.ones(4))),
            lambda m: torch.jit.trace(m.forward, (X, torch.ones(4))),
            lambda m: torch.jit.trace(lambda x_t, t: m(x_t, t), (X, torch.ones(4))),
            lambda m: torch.jit.freeze(torch.jit.script(m.eval())),
            torch.jit.script,
            lambda m: torch.export.export(m, (X, torch.ones(4))).module(),
            torch.vmap,
        ],
        ids=["traced", "method", "function", "frozen", "script", "exported", "vmap"],
    )
    def test_is_plugged_in_as_it_is_in_whatever_form_it_is_kept(self, wrap):
        class OfRow(nn.Module):
            def forward(self, x_t, t):
                return x_t * t.unsqueeze(-1)

        prior = NetworkPrior(wrap(OfRow()), SCHEDULE, modules=())
        for condition in (None, X):
            torch.testing.assert_close(prior.epsilon(X, 0.5, condition), X / 2)

    @pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
    def test_any_other_number_of_arguments_is_refused_when_the_prior_is_made(self):
        with pytest.raises(ArgumentError, match=r"neither \(x_t, t, condition\) nor \(x_t, t\)"):
            NetworkPrior(nn.Linear(2, 2), SCHEDULE)
        traced = torch.jit.trace(nn.Linear(2, 2), X)
        with pytest.raises(ArgumentError, match=r"neither \(x_t, t, condition\) nor \(x_t, t\)"):
            NetworkPrior(cast("nn.Module", traced), SCHEDULE)
        with pytest.raises(ArgumentError, match="label=condition"):
            NetworkPrior(lambda x_t, t, *, label: x_t, SCHEDULE)


class TestValues:
    @pytest.mark.parametrize(
        "value", [lambda x: -x.square().sum(-1), nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))]
    )
    def test_of_one_argument_work(self, value):
        prior = NetworkPrior(Watched(), SCHEDULE)
        objective = ScoreRegularizedObjective.from_value(value, prior, beta=float("inf"))
        for condition in (None, X):
            result = objective(X, condition)
            assert result.value is not None
            torch.testing.assert_close(result.value, value(X))

    def test_of_a_type_error_of_their_own_are_not_hidden(self):
        def value(x):
            return x + "one"

        prior = NetworkPrior(Watched(), SCHEDULE)
        with pytest.raises(TypeError, match="str"):
            ScoreRegularizedObjective.from_value(value, prior)(X)

    def test_of_complex_numbers_are_refused(self):
        prior = NetworkPrior(Watched(), SCHEDULE)
        with pytest.raises(ValueFunctionError, match="complex64"):
            ScoreRegularizedObjective.from_value(lambda x: (x + 0j).sum(-1), prior)(X)

    def test_of_a_float_are_refused(self):
        prior, wrong = NetworkPrior(Watched(), SCHEDULE), cast(ValueFunction, lambda x: 1.0)
        with pytest.raises(ValueFunctionError, match="float"):
            ScoreRegularizedObjective.from_value(wrong, prior)(X)


def test_a_decorated_method_keeps_its_instance():
    class Table:
        @functools.lru_cache  # noqa: B019
        def step(self, t: Tensor) -> Tensor:
            return 1000 * t

        @torch.no_grad()
        def predict(self, x_t: Tensor, t: Tensor) -> Tensor:
            return x_t + t[:, None]

    table, x_t = Table(), torch.ones(2, 1)
    prior = NetworkPrior(table.predict, VPSchedule(), time_map=table.step)
    torch.testing.assert_close(prior.epsilon(x_t, 0.5), x_t + 500)
