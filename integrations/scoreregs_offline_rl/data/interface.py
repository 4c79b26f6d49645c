"""What the numbers of a policy are on its machine: names, units, order and rate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.configuration import Positive, check_settings, require

__all__ = ["MachineInterface", "Signal", "is_name"]


@named_calls
@dataclass(frozen=True)
class Signal:
    """One number that a sensor gives or that a command takes.

    Attributes:
        name: what the machine calls it, not empty.
        unit: what it is measured in, if known.
    """

    name: str
    unit: str | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        require(bool(self.name.strip()), "Signal.name", self.name, "what your machine calls it")


def is_name(found: object) -> bool:
    r"""Returns whether what a data set calls a number can be its name: a text of one line.

    Example:
        >>> is_name("gripper"), is_name(" "), is_name("a\nb"), is_name(7)
        (True, False, False, False)
    """
    return isinstance(found, str) and bool(found.strip()) and found.isprintable()


@named_calls
@dataclass(frozen=True)
class MachineInterface:
    """The sensors and commands of a machine, in a policy's order.

    Attributes:
        observations: the sensors, in the order of an observation's numbers.
        actions: the commands, in the order of an action's numbers.
        rate: actions a second that the data was recorded with, in hertz, above 0; None where it is
            not known.

    Raises:
        ArgumentError: where there are no signals, two of them have one name, or the rate is out of
            its range.

    Example:
        >>> slider = MachineInterface(
        ...     observations=(Signal("position", "m"), Signal("speed", "m/s")),
        ...     actions=(Signal("force", "N"),),
        ...     rate=100.0,
        ... )
        >>> MachineInterface.from_dict(slider.to_dict()) == slider
        True
    """

    observations: tuple[Signal, ...]
    actions: tuple[Signal, ...]
    rate: Positive | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        for kind in ("observations", "actions"):
            names = [signal.name for signal in getattr(self, kind)]
            if not names or len(set(names)) < len(names):
                raise ArgumentError(
                    f"got the {kind} {names}, expected at least one and each name once: a command "
                    "or sensor is told by its name"
                )

    @classmethod
    @named_calls
    def numbered(cls, observation_size: int, action_size: int) -> MachineInterface:
        """Returns an interface of `observation_0`, ..., `action_0`, ... without units and rate."""
        return cls(
            tuple(Signal(f"observation_{index}") for index in range(observation_size)),
            tuple(Signal(f"action_{index}") for index in range(action_size)),
        )

    def check_sizes(self, observation_size: int, action_size: int) -> None:
        """Sees that there is a signal for each number of a policy.

        Raises:
            ArgumentError: where there are more or fewer.
        """
        sizes = len(self.observations), len(self.actions)
        if sizes != (observation_size, action_size):
            raise ArgumentError(
                f"got an interface of {sizes[0]} observations and {sizes[1]} actions, expected "
                f"{observation_size} and {action_size}: name every number of the policy, in order"
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns the interface as dictionaries that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> MachineInterface:
        """Returns the interface out of what `to_dict` gave.

        Raises:
            ArgumentError: where it is something else.
        """
        try:
            return cls(
                tuple(Signal(**signal) for signal in content["observations"]),
                tuple(Signal(**signal) for signal in content["actions"]),
                content["rate"],
            )
        except (KeyError, TypeError) as error:
            raise ArgumentError(
                f"got something else than an interface ({error}), expected observations, actions "
                "and rate"
            ) from error
