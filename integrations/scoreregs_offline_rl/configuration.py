"""Frozen dataclasses as configurations: types, ranges, JSON and what differs between two."""

import dataclasses
import functools
import json
import sys
import types
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from scoreregs.arguments import nearest
from scoreregs.errors import ArgumentError

__all__ = [
    "Count",
    "Finite",
    "Natural",
    "NotNegative",
    "Positive",
    "Share",
    "Within",
    "check_settings",
    "differences",
    "from_dict",
    "require",
    "to_dict",
]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Within:
    """The range of a setting, in its annotation: `Annotated[float, Within("(0, 1]")]`.

    Attributes:
        interval: as in mathematics; an end at infinity is left out with a round bracket.
    """

    interval: str

    def __contains__(self, number: float) -> bool:
        low, high = (float(end) for end in self.interval[1:-1].split(","))
        above = number > low or (self.interval[0] == "[" and number == low)
        return above and (number < high or (self.interval[-1] == "]" and number == high))


Count = Annotated[int, Within("[1, inf)")]
"""How many of what there is at least one of."""
Natural = Annotated[int, Within("[0, inf)")]
"""How many, or a seed."""
Finite = Annotated[float, Within("(-inf, inf)")]
"""A number of any sign."""
Positive = Annotated[float, Within("(0, inf)")]
"""A finite number above 0."""
NotNegative = Annotated[float, Within("[0, inf)")]
"""A finite number from 0 on."""
Share = Annotated[float, Within("(0, 1]")]
"""A share of a whole."""


def check_settings(config: Any) -> None:
    """Raises `ArgumentError` unless every setting is what its annotations say, its bases' too.

    A configuration calls it when it is made. A list or range in place of a tuple becomes one, and
    so does a whole float in place of an int.

    Args:
        config: a dataclass, whose annotations are types, Literals, tuples, unions and `Annotated`
            with a range, see `Within`. What else an annotation may say is not looked at.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Small:
        ...     steps: Count = 1
        ...     def __post_init__(self):
        ...         check_settings(self)
        >>> Small(steps=0)
        Traceback (most recent call last):
        scoreregs.errors.ArgumentError: got Small.steps = 0, expected int in [1, inf): change it
    """
    kind = type(config)
    for base in filter(dataclasses.is_dataclass, kind.__mro__):
        hints = _hints(base)
        for field in dataclasses.fields(base):
            value, hint = getattr(config, field.name), hints[field.name]
            if not _fits(value, hint):
                meaning = _converted(value)
                label = f"{kind.__name__}.{field.name}"
                expected = _described(hint)
                if isinstance(value, int) and not (_is_held(value, int) and _is_held(value, float)):
                    expected += ", of 64 bits"
                require(_fits(meaning, hint), label, value, expected)
                object.__setattr__(config, field.name, meaning)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _converted(value: Any) -> Any:
    """Returns what somebody means who writes a list for a tuple, or 1e6 for a number of steps."""
    if isinstance(value, (list, range)):
        return tuple(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fits(value: Any, hint: Any) -> bool:
    """Returns whether a value is what an annotation says, as far as it is known what that means."""
    origin, of = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = (extra for extra in of[1:] if isinstance(extra, Within))
        return _fits(value, of[0]) and (value is None or all(value in r for r in ranges))
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in of)
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in of)
    if origin is tuple:
        each = of[:1] * len(value) if of[1:] == (...,) and isinstance(value, tuple) else of
        same = isinstance(value, tuple) and len(value) == len(each)
        return same and all(map(_fits, value, each))
    if hint is None or hint is type(None):
        return value is None
    if hint in (int, float):
        numbers = int if hint is int else int | float
        return isinstance(value, numbers) and not isinstance(value, bool) and _is_held(value, hint)
    kind = origin or hint
    # A protocol, a type variable or Any says nothing that can be looked at.
    known = isinstance(kind, type) and not getattr(kind, "_is_protocol", False)
    return isinstance(value, kind) if known else True


def _is_held(number: float, kind: type) -> bool:
    """Returns whether a number of Python's is one of PyTorch's, too, whose numbers have 64 bits."""
    if isinstance(number, float):
        return True
    return abs(number) <= (2**63 - 1 if kind is int else sys.float_info.max)


def _described(hint: Any) -> str:
    """Returns what an annotation says, for people."""
    origin, of = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = [extra.interval for extra in of[1:] if isinstance(extra, Within)]
        return " in ".join([_described(of[0]), *ranges])
    if origin in (Union, types.UnionType):
        return " or ".join(map(_described, of))
    if origin is Literal:
        return f"one of {', '.join(map(repr, of))}"
    if origin is tuple:
        return f"a tuple of ({', '.join('...' if of_ is ... else _described(of_) for of_ in of)})"
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def require(condition: bool, name: str, got: object, expected: str) -> None:
    """Raises `ArgumentError` unless a condition on a setting holds."""
    if not condition:
        shown = type(got).__name__ if dataclasses.is_dataclass(got) else repr(got)
        raise ArgumentError(f"got {name} = {shown}, expected {expected}: change it")


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
        ArgumentError: it is no dictionary, a name is unknown or missing, or a value is out of its
            range.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Small:
        ...     steps: tuple[int, ...] = (1, 2)
        >>> from_dict(Small, {"steps": [3]})
        Small(steps=(3,))
    """
    hints = get_type_hints(kind)
    require(isinstance(content, dict), kind.__name__, content, "its settings by name")
    unknown = sorted(set(content) - set(hints))
    if unknown:
        raise ArgumentError(
            f"got {kind.__name__} = {unknown}, expected names out of {sorted(hints)}"
            f"{nearest(unknown[0], hints)}"
        )
    values = {}
    for name, value in content.items():
        if dataclasses.is_dataclass(hints[name]):
            values[name] = from_dict(cast(type, hints[name]), value)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    required = {f.name for f in dataclasses.fields(cast(Any, kind)) if _is_required(f)}
    missing = sorted(required - set(values))
    require(not missing, kind.__name__, sorted(values), f"{missing} among its settings")
    return kind(**values)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.init and field.default is missing and field.default_factory is missing


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
