"""Calls of the public names that do not fit: one line with the nearest name."""

import copy
import dataclasses
import inspect
from typing import get_type_hints

import pytest

import scoreregs_offline_rl
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import (
    CriticConfig,
    EvaluationResult,
    MachineInterface,
    SweepGrid,
    SweepTable,
    TrainConfig,
    TrainedPolicy,
    Transitions,
)

NAMED = {name: getattr(scoreregs_offline_rl, name) for name in scoreregs_offline_rl.__all__}
CALLS = {
    name: value
    for name, value in NAMED.items()
    if inspect.isfunction(value)
    or (
        inspect.isclass(value)
        and not inspect.isabstract(value)
        and not issubclass(value, Exception | KeyboardInterrupt)
    )
}
METHODS = {
    f"{owner.__name__}.{name}": getattr(owner, name)
    for owner, names in {
        EvaluationResult: ("from_returns",),
        MachineInterface: ("numbered",),
        SweepGrid: ("configs",),
        SweepTable: ("load",),
        TrainedPolicy: ("load", "save"),
        Transitions: ("from_arrays", "to"),
    }.items()
    for name in names
}


@dataclasses.dataclass(frozen=True)
class Derived(TrainConfig):
    """As users derive theirs."""

    more: int = 1


@pytest.mark.parametrize(
    "call", [*CALLS.values(), *METHODS.values(), Derived], ids=[*CALLS, *METHODS, "Derived"]
)
def test_a_mistyped_keyword_gets_the_nearest_name(call):
    parameters = inspect.signature(call).parameters.values()
    longest = max((p.name for p in parameters if p.name != "self"), key=len)
    with pytest.raises(ArgumentError, match=f"did you mean '{longest}'"):
        call(**{longest[:-1] + "_" + longest[-1]: 1})


def test_a_misfit_names_what_would_fit():
    with pytest.raises(ArgumentError, match=r"a call of TrainConfig .*'data'.*TrainConfig\(data"):
        TrainConfig()  # pyright: ignore[reportCallIssue]
    with pytest.raises(ArgumentError, match="did you mean 'steps'"):
        dataclasses.replace(CriticConfig(), stpes=5)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("kind", [CriticConfig, TrainConfig, Derived])
def test_a_configuration_is_a_dataclass_as_before(kind):
    config = kind("a.npz") if issubclass(kind, TrainConfig) else kind()
    names = [field.name for field in dataclasses.fields(config)]
    assert names == list(inspect.signature(kind).parameters)
    assert set(names) <= set(get_type_hints(kind))
    assert copy.deepcopy(config) == dataclasses.replace(config) == copy.copy(config) == config
