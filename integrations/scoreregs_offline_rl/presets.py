"""Temperatures of the paper's Table 2."""

import re

__all__ = ["beta_for"]

# AntMaze's belong to another form of the objective and are not listed.
_LOCOMOTION = {
    "walker2d-medium-expert": 0.1,
    "halfcheetah-medium-expert": 0.01,
    "hopper-medium-expert": 0.01,
    "walker2d-medium": 0.05,
    "halfcheetah-medium": 0.2,
    "hopper-medium": 0.05,
    "walker2d-medium-replay": 0.5,
    "halfcheetah-medium-replay": 0.2,
    "hopper-medium-replay": 0.2,
}


def beta_for(task: str) -> float | None:
    """The paper's temperature of a D4RL task, with or without a version; None where it has none.

    Example:
        >>> beta_for("hopper-medium-v2"), beta_for("pendulum-swingup")
        (0.05, None)
    """
    return _LOCOMOTION.get(re.sub(r"-v\d+$", "", task))
