"""Configuration: ranges, JSON, differences."""

import dataclasses
import json
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import (
    AWRConfig,
    BehaviorConfig,
    CriticConfig,
    DataKeys,
    EvaluationConfig,
    LoadingConfig,
    MachineInterface,
    PolicyConfig,
    Signal,
    SweepGrid,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.configuration import Within, differences, from_dict, to_dict


def test_json_and_back():
    config = TrainConfig(
        data="a.hdf5",
        beta=0.01,
        policy=PolicyConfig(times=(0.1, 0.9), normalize="rms"),
        trainer=TrainerConfig(log_with=("tensorboard",)),
    )
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_unknown_names_are_refused():
    with pytest.raises(ArgumentError, match=r"got CriticConfig = \['step'\].* mean 'steps'"):
        from_dict(TrainConfig, {"data": "a.hdf5", "critic": {"step": 5}})


def test_differences_name_what_changed():
    before = to_dict(TrainConfig(data="a.hdf5"))
    after = to_dict(TrainConfig(data="a.hdf5", seed=1, critic=CriticConfig(steps=5)))
    assert differences(before, before) == []
    assert differences(before, after) == [
        "seed: 0 before, 1 now",
        "critic.steps: 1500000 before, 5 now",
    ]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (CriticConfig, {"steps": 0}),
        (CriticConfig, {"expectile": 1.0}),
        (CriticConfig, {"discount": 1.0}),
        (CriticConfig, {"target_rate": 0.0}),
        (BehaviorConfig, {"dropout": 1.0}),
        (BehaviorConfig, {"first_time": 0.0}),
        (BehaviorConfig, {"batch_size": -1}),
        (PolicyConfig, {"learning_rate": 0.0}),
        (AWRConfig, {"steps": 0}),
        (AWRConfig, {"clip": 0.0}),
        (EvaluationConfig, {"episodes": -1}),
        (BehaviorConfig, {"held_out": -1}),
        (TrainerConfig, {"log_every": 0}),
        (TrainConfig, {"data": "a", "beta": 0.0}),
        (TrainConfig, {"data": "a", "beta": float("inf")}),
        (TrainConfig, {"data": "a", "beta": float("nan")}),
    ],
)
def test_values_out_of_range(kind, values):
    with pytest.raises(ArgumentError, match=f"got .*{list(values)[-1]} = .*, expected"):
        kind(**values)


def test_bounds_of_actions_come_in_pairs():
    with pytest.raises(ArgumentError, match="expected both"):
        TrainConfig(data="a", action_low=(-1.0,))


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ((1.0,), (-1.0,)),
        ((1.0,), (1.0,)),
        ((-1.0, 2.0), (1.0, 1.0)),
        ((0.0,), (1.0, -1.0)),
        ((-1.0, -1.0), (1.0, 1.0, 1.0)),
        ((), ()),
        ((), (1.0,)),
        ((1.0,), (1.0 + 1e-12,)),
        ((-3e38,), (3e38,)),
        ((-1e300,), (0.0,)),
    ],
)
def test_bounds_of_actions_leave_an_interval(low, high):
    with pytest.raises(ArgumentError, match=r"got action_low and action_high = \(.*, expected"):
        TrainConfig(data="a", action_low=low, action_high=high)


def test_one_bound_may_stand_for_all():
    assert TrainConfig(data="a", action_low=(0.0,), action_high=(1.0, 2.0)).action_high == (1, 2)


ROWS = [field.default_factory for field in dataclasses.fields(TrainConfig) if field.metadata]
CONFIGURATIONS: list[Any] = [TrainConfig, *ROWS, TrainerConfig, EvaluationConfig, LoadingConfig]
CONFIGURATIONS += [DataKeys, SweepGrid, MachineInterface, Signal]
GIVEN = {
    TrainConfig: {"data": "a"},
    MachineInterface: {"observations": (Signal("a"),), "actions": (Signal("b"),)},
    Signal: {"name": "a"},
}
# Numbers of any sign.
SIGNED = {"log_snr", "action_low", "action_high"}


class Nothing:
    """What no setting is."""


def wrong_values(name, hint):
    """Values that a setting must not have, by its annotation alone."""
    yield Nothing()
    origin, of = get_origin(hint), get_args(hint)
    if origin is Annotated:
        for extra in of[1:]:
            if isinstance(extra, Within):
                low, high = (float(end) for end in extra.interval[1:-1].split(","))
                yield from (low - 1, high + 1)
                yield from (low,) * (extra.interval[0] == "(")
                yield from (high,) * (extra.interval[-1] == ")")
        yield from wrong_values(name, of[0])
    elif hint in (int, float):
        yield from ("1", True, 10**400, -(10**400), *((1.5, 2**63) if hint is int else ()))
        yield from () if name in SIGNED else (-1, float("inf"), float("nan"))
    elif hint is bool:
        yield from (1, "yes")
    elif hint is str:
        yield from (3, None)
    elif origin is tuple:
        yield from ((wrong,) * 2 for wrong in wrong_values(name, of[0]))
        yield from ((), (1.0, 2.0, 3.0)) if of[-1] is not ... else ("ab",)
    elif origin is not None:
        # A union, or a Literal.
        if str not in of:
            yield from ("no such name", ("no such name",))
        inner = [w for option in of if get_args(option) for w in wrong_values(name, option)]
        yield from (wrong for wrong in inner if not isinstance(wrong, str))


@pytest.mark.parametrize("kind", CONFIGURATIONS, ids=lambda kind: kind.__name__)
def test_every_setting_is_checked_when_it_is_made(kind):
    given, hints = GIVEN.get(kind, {}), get_type_hints(kind, include_extras=True)
    for name in (field.name for field in dataclasses.fields(kind)):
        for wrong in wrong_values(name, hints[name]):
            with pytest.raises(ArgumentError, match=rf"\b{name} = .*, expected"):
                kind(**{**given, name: wrong})


def test_what_is_meant_by_lists_and_whole_floats():
    grid = SweepGrid(range(2), [0.1])  # pyright: ignore[reportArgumentType]
    assert (grid.seeds, grid.betas) == ((0, 1), (0.1,))
    steps = CriticConfig(steps=1e3).steps  # pyright: ignore[reportArgumentType]
    assert (steps, type(steps)) == (1000, int)
    with pytest.raises(ArgumentError, match=r"CriticConfig.steps = 1.5, expected int"):
        CriticConfig(steps=1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        ArgumentError, match=r"mixed_precision = 'fp8', expected one of 'no', 'fp16"
    ):
        TrainerConfig(mixed_precision="fp8")  # pyright: ignore[reportArgumentType]
