"""The paper's settings by task: Appendix C and Table 2.

Where the paper and its published code contradict each other the paper is the default, with one
exception: the AntMaze presets normalise the value's gradient by its RMS and put beta on the value,
as the code does, because the temperatures of Table 2 belong to that form (the paper's formula would
make them another beta for every action dimension). Where the paper is silent (cosine decay of the
policy's learning rate, tanh, the mean of the averaged twins, the actor's advantage scale) it is the
code.
"""

import re
from dataclasses import replace
from pathlib import PurePath
from typing import Literal

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.tasks import data_label, task_of_file
from scoreregs_offline_rl.runs.configuration import (
    BaselineConfig,
    BehaviorConfig,
    CriticConfig,
    PolicyConfig,
    TrainConfig,
)

__all__ = ["TEMPERATURES", "PresetName", "beta_for", "known_task", "preset"]

PresetName = Literal["default", "paper-exact"]

TEMPERATURES = {
    "walker2d-medium-expert": 0.1,
    "halfcheetah-medium-expert": 0.01,
    "hopper-medium-expert": 0.01,
    "walker2d-medium": 0.05,
    "halfcheetah-medium": 0.2,
    "hopper-medium": 0.05,
    "walker2d-medium-replay": 0.5,
    "halfcheetah-medium-replay": 0.2,
    "hopper-medium-replay": 0.2,
    "antmaze-umaze": 0.02,
    "antmaze-medium-play": 0.08,
    "antmaze-large-play": 0.06,
    "antmaze-umaze-diverse": 0.04,
    "antmaze-medium-diverse": 0.05,
    "antmaze-large-diverse": 0.05,
}
"""Temperatures of the paper's Table 2, by the task's name without its version."""

_ANTMAZE = PolicyConfig(layers=4, normalize="rms", beta_on="value")


def preset(data: str, name: PresetName = "default") -> TrainConfig:
    """The settings for a data set: the paper's for its 15 tasks, Appendix C's for any other.

    AntMaze, recognised by its name, takes expectile 0.9, rewards less one, a policy of four layers,
    an advantage scale of 10, and beta on the value relative to the RMS of its gradient.

    Args:
        data: The configuration's `data`; a file is recognised by its name.
        name: `default` normalises observations; `paper-exact` leaves them as they are, and keeps no
            rows of the data from the behavior model.

    Raises:
        ArgumentError: There is no such preset.

    Example:
        >>> preset("hopper-medium-v2").beta, preset("antmaze-umaze-v2").policy.layers
        (0.05, 4)
        >>> preset("my-robot.npz").beta is None
        True
    """
    if name not in ("default", "paper-exact"):
        raise ArgumentError(f"got preset {name!r}, expected 'default' or 'paper-exact'")
    config = TrainConfig(data=data, beta=TEMPERATURES.get(known_task(data) or ""))
    if name == "paper-exact":
        behavior = BehaviorConfig(held_out=0)
        config = replace(config, normalize_observations=False, behavior=behavior)
    if "antmaze" not in data_label(data).lower():
        return config
    return replace(
        config,
        rewards="antmaze",
        critic=CriticConfig(expectile=0.9),
        policy=_ANTMAZE,
        baseline=BaselineConfig(advantage_scale=10.0),
    )


def beta_for(data: str, policy: PolicyConfig) -> float | None:
    """The temperature of Table 2 for a data set and this form of Eq. 15; None where there is none.

    A temperature means something in its own form only, `normalize` and `beta_on` of the preset.

    Example:
        >>> beta_for("hopper-medium-v2", PolicyConfig()), beta_for("my-robot", PolicyConfig())
        (0.05, None)
        >>> beta_for("antmaze-umaze-v2", PolicyConfig()) is None
        True
    """
    usual = preset(data)
    same = (policy.normalize, policy.beta_on) == (usual.policy.normalize, usual.policy.beta_on)
    return usual.beta if same else None


def known_task(data: str) -> str | None:
    """The paper's task that data is named after, without its version; None for any other.

    Example:
        >>> known_task("data/hopper_medium-v2.hdf5"), known_task("hopper-medium")
        ('hopper-medium', 'hopper-medium')
    """
    published = task_of_file(PurePath(data).name)
    name = re.sub(r"-v\d+$", "", published.name if published else data_label(data))
    return name if name in TEMPERATURES else None
