"""An environment as a data set recorded it, in one line of text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scoreregs.errors import ArgumentError

__all__ = ["RecordedEnvironment"]

# What NumPy counts steps with.
_LONGEST = 2**63 - 1
_KEYS = ("kwargs", "max_episode_steps", "wrappers", "references")


@dataclass(frozen=True)
class RecordedEnvironment:
    """A Gymnasium id with all that a data set says of its environment beside the id.

    As text it is the id alone, or the id and JSON of what differs from the environment that the id
    is registered with, so that it passes through a configuration, a policy and a report as an id
    does.

    Attributes:
        id: Gymnasium's.
        kwargs: what its constructor is given beside what it is registered with.
        max_episode_steps: the time limit; None: that of the registered environment.
        wrappers: `entry_point` and `kwargs` of each wrapper around it, from the inside out.
        references: the mean returns that score 0 and 100 by the data set; None: it has none.

    Example:
        >>> text = 'Pendulum-v1 {"kwargs": {"g": 0.5}, "references": [-400.0, -20.0]}'
        >>> recorded = RecordedEnvironment.parse(text)
        >>> recorded.id, recorded.kwargs, recorded.references
        ('Pendulum-v1', {'g': 0.5}, (-400.0, -20.0))
        >>> str(recorded) == text, str(RecordedEnvironment("Hopper-v5"))
        (True, 'Hopper-v5')
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    wrappers: tuple[Mapping[str, Any], ...] = ()
    references: tuple[float, float] | None = None

    @classmethod
    def parse(cls, text: str) -> RecordedEnvironment:
        """Returns the environment of a text.

        Args:
            text: an id, or an id, a space and a JSON object.

        Raises:
            ArgumentError: for an object that is not JSON, or has other keys or values than ours.
        """
        name, brace, rest = text.partition(" {")
        if not brace:
            return cls(text)
        try:
            content = json.loads("{" + rest)
            unknown = set(content) - set(_KEYS)
            limit, references = content.get("max_episode_steps"), content.get("references")
            kwargs, wrappers = content.get("kwargs", {}), content.get("wrappers", [])
            references = None if references is None else _pair(references)
        except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
            raise ArgumentError(_expected(text)) from error
        numbered = limit is None or (type(limit) is int and 1 <= limit <= _LONGEST)
        whole = isinstance(kwargs, dict) and isinstance(wrappers, list)
        whole = whole and all(
            isinstance(wrapper, dict)
            and isinstance(wrapper.get("entry_point"), str)
            and isinstance(wrapper.get("kwargs", {}), dict)
            for wrapper in wrappers
        )
        if unknown or not name or not numbered or not whole:
            raise ArgumentError(_expected(text))
        return cls(name, kwargs, limit, tuple(wrappers), references)

    @classmethod
    def of_spec(
        cls, spec: str, references: tuple[float, float] | None = None
    ) -> RecordedEnvironment:
        """Returns the environment of a specification that a data set carries.

        Args:
            spec: JSON of Gymnasium's `EnvSpec`, of whatever version: id, keyword arguments, time
                limit and wrappers are read.
            references: the data set's own reference returns.

        Raises:
            ArgumentError: where what it says is no environment, see `parse`.
            ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError: for
                text that is no such JSON.
        """
        import gymnasium

        content = json.loads(spec)
        name, given = content["id"], dict(content.get("kwargs") or {})
        given.pop("render_mode", None)
        usual = gymnasium.registry.get(name)
        registered, limit = ({}, None) if usual is None else (usual.kwargs, usual.max_episode_steps)
        steps = content.get("max_episode_steps")
        recorded = cls(
            name,
            {key: value for key, value in given.items() if registered.get(key, cls) != value},
            None if steps == limit else steps,
            tuple(
                {"entry_point": wrapper["entry_point"], "kwargs": wrapper["kwargs"] or {}}
                for wrapper in content.get("additional_wrappers") or ()
            ),
            None if references is None else _pair(references),
        )
        return cls.parse(str(recorded))

    def __str__(self) -> str:
        """Returns the text that `parse` reads."""
        values = dict(self.kwargs), self.max_episode_steps, list(self.wrappers), self.references
        content = {key: value for key, value in zip(_KEYS, values, strict=True) if value}
        return f"{self.id} {json.dumps(content)}" if content else self.id


def _pair(references: Any) -> tuple[float, float]:
    low, high = map(float, references)
    if not (math.isfinite(low) and math.isfinite(high) and low != high):
        raise ValueError("no finite references that differ")
    return low, high


def _expected(text: str) -> str:
    return (
        f"got the environment {text!r:.200}, expected a Gymnasium id, or an id and a JSON object "
        f'of {", ".join(_KEYS)}: Pendulum-v1 {{"kwargs": {{"g": 5.0}}}}'
    )
