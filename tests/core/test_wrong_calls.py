"""Every parameter of every public signature, given what it is not: always an error of the library.

The signatures are read from the package: a new public name or parameter without a row fails. Rows
are in `tests/core/calls/`.
"""

import importlib
import inspect
import pkgutil
import re
from typing import Any

import numpy as np
import pytest
import torch

import scoreregs
from scoreregs.errors import ScoreRegsError
from tests.core.calls import objectives, plug_ins, priors, schedules
from tests.core.calls.values import Call

CALLS: dict[str, Call] = {
    **schedules.CALLS,
    **plug_ins.CALLS,
    **priors.CALLS,
    **objectives.CALLS,
}
PUBLIC = {
    "baselines",
    "betas",
    "checking",
    "distillation",
    "fitting",
    "inverse",
    "kernel",
    "noisers",
    "predictions",
    "priors",
    "probability_flow",
    "recipes",
    "schedules",
    "times",
    "weightings",
}
# What the public modules are made of, and the suites that raise assertions.
INTERNAL = {
    "arguments",
    "clock",
    "devices",
    "discovery",
    "draws",
    "errors",
    "estimator",
    "finiteness",
    "objective",
    "options",
    "prior",
    "reprs",
    "results",
    "scalars",
    "testing",
    "trees",
    "validation",
    "value_gradient",
}
# What the library makes and returns; its constructor is not for calling.
RESULTS = {
    "DataMap",
    "Diagnostics",
    "DistillationResult",
    "NoiseLevel",
    "Noised",
    "ObjectiveResult",
    "PriorReport",
    "Reading",
    "ScoreRegsError",
}
# The pure functions in every step, which check only what is free.
FREE = {"bracket_of", "cast", "diffuse", "expand", "residual_of", "residual_through_prior"}
# What the library calls itself, on what it has checked.
PROTOCOL = {
    "checked_predict",
    "density",
    "difference",
    "evaluating",
    "forward",
    "input",
    "log_factor",
    "log_weight",
    "log_weight_of",
    "networks",
    "observe",
    "predict",
    "quantile",
    "remainder",
    "sample",
    "score",
    "epsilon",
    "through_prior",
    "times",
    "under",
    "is_singular",
    "weight",
}


PARAMETERS = [(name, parameter) for name, call in CALLS.items() for parameter in call.wrong]


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_wrong_argument_is_an_error_of_the_library(name, parameter):
    call = CALLS[name]
    for value in call.wrong[parameter]:
        raised: Exception | None = None
        try:
            call.function(**call.right | {parameter: value})
        except Exception as error:
            raised = error
        told = f"{parameter}={value!r} gave {type(raised).__name__}: {raised}"
        assert isinstance(raised, ScoreRegsError), told
        assert "expected" in str(raised), told


def of_numpy(value: Any) -> Any:
    """Returns numbers, flags and short lists of them as numpy's; None for all else."""
    if isinstance(value, (tuple, list)):
        each = [of_numpy(element) for element in value]
        return None if not each or None in each else type(value)(each)
    kinds = {bool: np.bool_, int: np.int64, float: np.float64}
    return kinds[type(value)](value) if type(value) in kinds else None


def numbers_of(name: str) -> dict[str, tuple[Any, Any]]:
    """Returns the numbers and flags that a call may be given, by parameter: as ours, as numpy's."""
    call = CALLS[name]
    parameters = inspect.signature(call.of or call.function).parameters
    defaults = {p.name: p.default for p in parameters.values() if p.name in call.wrong}
    taken = {key: (value, of_numpy(value)) for key, value in (defaults | call.right).items()}
    return {key: pair for key, pair in taken.items() if pair[1] is not None}


@pytest.mark.parametrize("name", [name for name in CALLS if numbers_of(name)])
def test_a_number_of_numpy_is_the_number_that_it_is(name):
    if name.startswith("probability_flow"):
        pytest.importorskip("torchdiffeq")
    call = CALLS[name]

    def told(**arguments: Any) -> str:
        torch.manual_seed(0)
        return re.sub(
            "0x[0-9a-f]+|seconds=[0-9.]+", "", repr(call.function(**call.right | arguments))
        )

    for parameter, (ours, numpys) in numbers_of(name).items():
        assert told(**{parameter: numpys}) == told(**{parameter: ours}), parameter


@pytest.mark.parametrize("name", CALLS)
def test_the_right_arguments_are_accepted(name):
    if name.startswith("probability_flow"):
        pytest.importorskip("torchdiffeq")
    if name.endswith("plot"):
        pytest.importorskip("matplotlib")
    CALLS[name].function(**CALLS[name].right)


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.names])
def test_a_mistyped_keyword_gets_the_nearest_name(name):
    call = CALLS[name]
    parameter = max(call.wrong, key=len, default=None)
    if parameter is None:
        with pytest.raises(ScoreRegsError, match="expected"):
            call.function(shift=1)
        with pytest.raises(ScoreRegsError, match=r"does not fit .* expected .*\(\)"):
            call.function(1)
        return
    mistyped = parameter[:-1] + "_" + parameter[-1]
    with pytest.raises(ScoreRegsError, match=f"did you mean '{parameter}'"):
        call.function(**call.right | {mistyped: 1})


@pytest.mark.parametrize("name", [n for n, call in CALLS.items() if call.names and call.right])
def test_a_missing_argument_is_named(name):
    call = CALLS[name]
    needed = [
        p.name
        for p in inspect.signature(call.function).parameters.values()
        if p.default is p.empty and p.name in call.right
    ]
    for parameter in needed:
        rest = {key: value for key, value in call.right.items() if key != parameter}
        with pytest.raises(ScoreRegsError, match=parameter):
            call.function(**rest)


def public() -> dict[str, Any]:
    """Returns every public function and class, by the name of its row."""
    found = {name: getattr(scoreregs, name) for name in scoreregs.__all__}
    seen = {id(value) for value in found.values()}
    for module in sorted(PUBLIC):
        loaded = importlib.import_module(f"scoreregs.{module}")
        for name in loaded.__all__:
            value = getattr(loaded, name)
            if id(value) not in seen and (inspect.isclass(value) or inspect.isfunction(value)):
                found[f"{module}.{name}"] = value
    left_out = RESULTS | FREE
    return {
        name: value
        for name, value in found.items()
        if not inspect.isabstract(value) and name.split(".")[-1] not in left_out
    }


def test_every_module_is_public_or_not():
    modules = {module.name for module in pkgutil.iter_modules(scoreregs.__path__)}
    assert {name for name in modules if not name.startswith("_")} == PUBLIC | INTERNAL


def test_every_public_callable_has_a_row():
    assert public().keys() <= CALLS.keys()


def test_every_public_method_has_a_row():
    methods = {
        f"{kind.__name__}.{name}"
        for value in [*public().values(), scoreregs.NoiseSchedule, scoreregs.ScorePrior]
        if inspect.isclass(value)
        for kind in value.__mro__
        if kind.__module__.startswith("scoreregs")
        for name, method in vars(kind).items()
        if not name.startswith("_")
        and name not in PROTOCOL
        and (inspect.isfunction(method) or isinstance(method, classmethod))
        and len(inspect.signature(getattr(kind, name)).parameters) > isinstance(method, classmethod)
    }
    rows = {re.sub(r"^[a-z_]+\.", "", name) for name in CALLS}
    inherited = {name.split(".")[-1] for name in rows if name.startswith("NoiseSchedule.")}
    assert {m for m in methods - rows if m.split(".")[-1] not in inherited} == set()


@pytest.mark.parametrize("name", CALLS)
def test_every_parameter_has_a_row(name):
    call = CALLS[name]
    if " of " in name:
        return
    parameters = inspect.signature(call.of or call.function).parameters
    named = {n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    assert named - {"self"} <= call.wrong.keys()
