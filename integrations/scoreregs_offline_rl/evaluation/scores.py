"""Reference returns of tasks, and the score that they normalise."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.d4rl_package import d4rl_infos

__all__ = ["ReferenceReturns", "environment_for", "normalized_score", "reference_returns"]


@dataclass(frozen=True)
class ReferenceReturns:
    """Mean returns that define the scores 0 (`random`) and 100 (`expert`)."""

    random: float
    expert: float


# D4RL's (Fu et al., 2020), except pendulum: measured with `pendulum.swing_up_policy` and uniform
# random torque, 10,000 episodes each; standard errors 0.9 and 2.9.
_REFERENCES = {
    "halfcheetah": ReferenceReturns(-280.178953, 12135.0),
    "hopper": ReferenceReturns(-20.272305, 3234.3),
    "walker2d": ReferenceReturns(1.629008, 4592.3),
    "antmaze": ReferenceReturns(0.0, 1.0),
    "pendulum": ReferenceReturns(-1225.6, -150.3),
}
# Walker2d-v5 has another foot friction than D4RL's; v4 has D4RL's dynamics.
_ENVIRONMENTS = {"halfcheetah": "HalfCheetah-v4", "hopper": "Hopper-v4", "walker2d": "Walker2d-v4"}


def environment_for(name: str) -> str:
    """Gymnasium id of a data set's name; an id is given back as it is.

    Example:
        >>> environment_for("hopper-medium-expert-v2"), environment_for("Hopper-v5")
        ('Hopper-v4', 'Hopper-v5')
        >>> environment_for("pendulum-swingup")
        'Pendulum-v1'
    """
    if name == "pendulum-swingup":
        return "Pendulum-v1"
    return _ENVIRONMENTS.get(name.split("-")[0], name)


def reference_returns(name: str) -> ReferenceReturns | None:
    """Reference returns of a data set's name or a Gymnasium id; None where there are none.

    Those of further D4RL data sets come from the `d4rl` package, where it is installed.
    """
    if found := _REFERENCES.get(re.split("[-_]", name.lower())[0]):
        return found
    infos = d4rl_infos()
    if infos is None or name not in infos.REF_MIN_SCORE:
        return None
    return ReferenceReturns(infos.REF_MIN_SCORE[name], infos.REF_MAX_SCORE[name])


def normalized_score(return_: float, name: str) -> float:
    """100 (return - random) / (expert - random), D4RL's normalised score.

    Args:
        return_: An undiscounted return, or a mean of them.
        name: A data set's name or a Gymnasium id.

    Raises:
        ArgumentError: The task has no reference returns.

    Example:
        >>> round(normalized_score(3234.3, "hopper-medium-v2"), 1)
        100.0
    """
    reference = reference_returns(name)
    if reference is None:
        raise ArgumentError(
            f"got {name!r}, expected a task with reference returns ({', '.join(_REFERENCES)}): "
            "compare plain returns instead"
        )
    return 100.0 * (return_ - reference.random) / (reference.expert - reference.random)
