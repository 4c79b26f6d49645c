"""Conditions: None, a tensor, or nested dicts, lists and tuples of tensors, batch first."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from torch import Tensor

from scoreregs.errors import ArgumentError

__all__ = ["Condition", "leaves", "map_tensors"]

Condition: TypeAlias = (
    "Tensor | dict[str, Condition] | list[Condition] | tuple[Condition, ...] | None"
)


def map_tensors(function: Callable[[Tensor], Tensor], condition: Condition) -> Condition:
    """Returns the condition with a function applied to each of its tensors.

    Raises:
        ArgumentError: where a leaf is neither a tensor nor None.

    Example:
        >>> import torch
        >>> map_tensors(lambda c: c + 1, {"text": torch.zeros(2), "label": None})
        {'text': tensor([1., 1.]), 'label': None}
    """
    if condition is None:
        return None
    if isinstance(condition, Tensor):
        return function(condition)
    if isinstance(condition, dict):
        return {key: map_tensors(function, leaf) for key, leaf in condition.items()}
    if isinstance(condition, list):
        return [map_tensors(function, leaf) for leaf in condition]
    if isinstance(condition, tuple):
        return tuple(map_tensors(function, leaf) for leaf in condition)
    raise ArgumentError(
        f"got a condition with a {type(condition).__name__} in it, expected None, a tensor, or a "
        "dict, list or tuple of them: convert it, for instance with torch.as_tensor"
    )


def leaves(condition: Condition) -> Iterator[Tensor]:
    """Yields the tensors of a condition.

    Raises:
        ArgumentError: where a leaf is neither a tensor nor None.
    """
    found: list[Tensor] = []

    def keep(leaf: Tensor) -> Tensor:
        found.append(leaf)
        return leaf

    map_tensors(keep, condition)
    yield from found
