"""The paper's settings by task: Appendix C and Table 2.

Where the paper and its published code contradict each other the paper is the default, with one
exception: the AntMaze presets normalise the value's gradient by its RMS and put beta on the value,
as the code does, because the temperatures of Table 2 belong to that form (the paper's formula would
make them another beta for every action dimension). Where the paper is silent (cosine decay of the
policy's learning rate, tanh, the mean of the averaged twins, the actor's advantage scale) it is the
code.
"""

from typing import Literal

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.stages.awr import AWRConfig
from scoreregs_offline_rl.stages.behavior import BehaviorConfig
from scoreregs_offline_rl.stages.critic import CriticConfig
from scoreregs_offline_rl.stages.policy import PolicyConfig
from scoreregs_offline_rl.tasks import paper_settings

__all__ = ["PresetName", "beta_for", "preset"]

PresetName = Literal["default", "paper-exact"]


def preset(data: str, name: PresetName = "default") -> TrainConfig:
    """Returns the settings for data: the paper's for its 15 tasks, Appendix C's for any other.

    AntMaze, recognised by its name, takes expectile 0.9, rewards less one, a policy of four layers,
    an advantage scale of 10, and beta on the value relative to the RMS of its gradient.

    Args:
        data: the configuration's `data`; a file is recognised by its name.
        name: `default` normalises observations; `paper-exact` leaves them as they are, and keeps no
            rows of the data from the behavior model.

    Raises:
        ArgumentError: there is no such preset.

    Example:
        >>> preset("hopper-medium-v2").beta, preset("antmaze-umaze-v2").policy.layers
        (0.05, 4)
        >>> preset("my-robot.npz").beta is None
        True
    """
    if name not in ("default", "paper-exact"):
        raise ArgumentError(f"got preset {name!r}, expected 'default' or 'paper-exact'")
    of_paper = paper_settings(data)
    exact = name == "paper-exact"
    return TrainConfig(
        data=data,
        beta=of_paper.beta,
        normalize_observations=not exact,
        rewards=of_paper.rewards,
        critic=CriticConfig(expectile=of_paper.expectile),
        behavior=BehaviorConfig(held_out=0) if exact else BehaviorConfig(),
        policy=PolicyConfig(
            layers=of_paper.policy_layers,
            normalize=of_paper.normalize,
            beta_on=of_paper.beta_on,
        ),
        awr=AWRConfig(advantage_scale=of_paper.advantage_scale),
    )


def beta_for(data: str, policy: PolicyConfig) -> float | None:
    """Returns the temperature of Table 2 for data and this form of Eq. 15; None if there is none.

    A temperature means something in its own form only, `normalize` and `beta_on` of the preset.

    Example:
        >>> beta_for("hopper-medium-v2", PolicyConfig()), beta_for("my-robot", PolicyConfig())
        (0.05, None)
        >>> beta_for("antmaze-umaze-v2", PolicyConfig()) is None
        True
    """
    usual = paper_settings(data)
    same = (policy.normalize, policy.beta_on) == (usual.normalize, usual.beta_on)
    return usual.beta if same else None
