"""Frozen dataclasses as configurations: ranges, JSON and what differs between two of them."""

import dataclasses
import json
from typing import Any, TypeVar, cast, get_type_hints

from scoreregs.errors import ArgumentError

__all__ = ["differences", "from_dict", "require", "require_positive", "to_dict"]

T = TypeVar("T")


def require(condition: bool, name: str, got: object, expected: str) -> None:
    """Raises `ArgumentError` unless a condition on a setting holds."""
    if not condition:
        raise ArgumentError(f"got {name} = {got!r}, expected {expected}: change it")


def require_positive(config: Any, *names: str) -> None:
    """Raises `ArgumentError` unless settings of a configuration are above 0, or None."""
    for name in names:
        value = getattr(config, name)
        label = f"{type(config).__name__}.{name}"
        require(value is None or value > 0, label, value, "a number above 0")


def to_dict(config: Any) -> dict[str, Any]:
    """Returns a configuration as nested dictionaries that JSON can hold.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Small:
        ...     steps: tuple[int, ...] = (1, 2)
        >>> to_dict(Small())
        {'steps': [1, 2]}
    """
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(kind: type[T], content: dict[str, Any]) -> T:
    """Returns a configuration of a kind from what `to_dict` gave; what is absent is the default.

    Raises:
        ArgumentError: a name is unknown, or a value is out of its range.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Small:
        ...     steps: tuple[int, ...] = (1, 2)
        >>> from_dict(Small, {"steps": [3]})
        Small(steps=(3,))
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(content) - set(hints))
    require(not unknown, kind.__name__, unknown, f"names out of {sorted(hints)}")
    values = {}
    for name, value in content.items():
        if dataclasses.is_dataclass(hints[name]):
            values[name] = from_dict(cast(type, hints[name]), value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def differences(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """Returns the names, dotted, whose values differ between two configurations as dictionaries.

    Example:
        >>> differences({"seed": 0, "critic": {"steps": 5}}, {"seed": 0, "critic": {"steps": 6}})
        ['critic.steps: 5 before, 6 now']
    """
    found = []
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name}: {old!r} before, {new!r} now")
    return found
