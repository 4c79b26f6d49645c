"""What LeRobot's `meta/info.json` calls the numbers of its columns, and how often they come."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scoreregs_offline_rl.configuration import Positive
from scoreregs_offline_rl.data.interface import MachineInterface, Signal, is_name

__all__ = ["interface_of"]


def interface_of(
    features: Mapping[str, Any],
    fps: object,
    observations: Mapping[str, int],
    actions: Mapping[str, int],
) -> MachineInterface | None:
    """Returns names and rate of a data set's numbers; None where it says neither.

    A column's names may be a list, nested ones or a dictionary of lists, as versions of LeRobot
    write them. Where there is not one for each number, or one comes twice, the numbers are called
    by their column and place.

    Args:
        features: the columns, by name.
        fps: frames a second, as the data set has it.
        observations: numbers of each column that an observation is made of, in order.
        actions: of the actions', likewise.

    Example:
        >>> features = {"action": {"names": {"motors": ["pan", "grip"]}}}
        >>> arm = interface_of(features, 30, {"observation.state": 1}, {"action": 2})
        >>> arm.rate, [signal.name for signal in arm.observations + arm.actions]
        (30.0, ['observation.state', 'pan', 'grip'])
    """
    rate = _rate(fps)
    if rate is None and not any(
        _names(features, column, size) for column, size in {**observations, **actions}.items()
    ):
        return None
    return MachineInterface(_signals(features, observations), _signals(features, actions), rate)


def _rate(fps: object) -> Positive | None:
    # Python compares whole numbers of any size, and converts those below the largest float alone.
    if (
        not isinstance(fps, (int, float))
        or isinstance(fps, bool)
        or not 0 < fps <= sys.float_info.max
    ):
        return None
    return float(fps)


def _signals(features: Mapping[str, Any], columns: Mapping[str, int]) -> tuple[Signal, ...]:
    numbered = [name for column, size in columns.items() for name in _numbered(column, size)]
    names = [
        name
        for column, size in columns.items()
        for name in _names(features, column, size) or _numbered(column, size)
    ]
    unique = names if len(set(names)) == len(names) else numbered
    return tuple(map(Signal, unique))


def _numbered(column: str, size: int) -> list[str]:
    return [column] if size == 1 else [f"{column}_{index}" for index in range(size)]


def _names(features: Mapping[str, Any], column: str, size: int) -> list[str] | None:
    """The names of a column's numbers, if each has one."""
    found = list(_leaves(features.get(column, {}).get("names")))
    return found if all(map(is_name, found)) and len(found) == size else None


def _leaves(names: Any) -> Sequence[Any]:
    """What lists and dictionaries hold in the end, in order, however deep they are nested."""
    leaves, left = [], [names]
    while left:
        part = left.pop()
        if isinstance(part, (dict, list)):
            left += reversed(part.values() if isinstance(part, dict) else part)
        elif part is not None:
            leaves.append(part)
    return leaves
