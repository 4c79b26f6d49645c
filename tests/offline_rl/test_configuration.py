"""Configuration: ranges, JSON, differences."""

import json

import pytest

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import (
    AWRConfig,
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.configuration import differences, from_dict, to_dict


def test_json_and_back():
    config = TrainConfig(
        data="a.hdf5",
        beta=0.01,
        policy=PolicyConfig(times=(0.1, 0.9), normalize="rms"),
        trainer=TrainerConfig(log_with=("tensorboard",)),
    )
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_unknown_names_are_refused():
    with pytest.raises(ArgumentError, match=r"got CriticConfig = \['step'\]"):
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
