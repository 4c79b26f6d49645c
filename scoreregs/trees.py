"""Conditions: None, a tensor, or nested dicts, lists and tuples of tensors, batch first."""

from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn, TypeAlias

import torch
from torch import Tensor

from scoreregs.errors import ArgumentError

__all__ = [
    "Condition",
    "check_condition",
    "concatenate",
    "leaves",
    "map_tensors",
    "repeat_rows",
    "shapes",
]

Condition: TypeAlias = (
    "Tensor | dict[str, Condition] | list[Condition] | tuple[Condition, ...] | None"
)


def check_condition(condition: Condition, rows: int | None = None) -> None:
    """Raises `ArgumentError` unless this is None, a tensor, or dicts, lists and tuples of them.

    Args:
        condition: what is a condition, or not.
        rows: how many every tensor has, where that is known.
    """
    for leaf in leaves(condition):
        if rows is not None and leaf.shape[:1] != (rows,):
            raise ArgumentError(
                f"got a condition of shape {tuple(leaf.shape)}, expected the batch of {rows} first"
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
        return _like(condition, [map_tensors(function, leaf) for leaf in condition])
    raise ArgumentError(
        f"got a condition with a {type(condition).__name__} in it, expected None, a tensor, or a "
        "dict, list or tuple of them: convert it, for instance with torch.as_tensor"
    )


def repeat_rows(condition: Condition, count: int) -> Condition:
    """Returns the condition with `count` rows: its own, or its single one repeated.

    Raises:
        ArgumentError: where a tensor has another number of rows.

    Example:
        >>> repeat_rows([torch.zeros(1, 2)], 3)[0].shape
        torch.Size([3, 2])
    """

    def repeat(leaf: Tensor) -> Tensor:
        if leaf.ndim == 0 or len(leaf) not in (1, count):
            raise ArgumentError(
                f"got a condition of shape {tuple(leaf.shape)} for a batch of {count}, expected "
                f"1 or {count} rows: add the batch dimension with condition[None]"
            )
        return leaf if len(leaf) == count else leaf.expand(count, *leaf.shape[1:])

    return map_tensors(repeat, condition)


def concatenate(conditions: Sequence[Condition]) -> Condition:
    """Returns conditions of one structure as one, one batch after the other.

    Tensors take the dtype of the last one's.

    Raises:
        ArgumentError: where structures, shapes behind the batch or devices differ.

    Example:
        >>> concatenate([{"label": torch.tensor([0])}, {"label": torch.tensor([7])}])
        {'label': tensor([0, 7])}
    """
    last = conditions[-1]
    if all(isinstance(c, Tensor) for c in conditions):
        return _concatenate_tensors([c for c in conditions if isinstance(c, Tensor)])
    if any(type(c) is not type(last) for c in conditions):
        _refuse_structures(conditions)
    if isinstance(last, dict):
        dicts = [c for c in conditions if isinstance(c, dict)]
        if any(c.keys() != last.keys() for c in dicts):
            _refuse_structures(conditions)
        return {key: concatenate([c[key] for c in dicts]) for key in last}
    if isinstance(last, (list, tuple)):
        lists = [c for c in conditions if isinstance(c, (list, tuple))]
        if any(len(c) != len(last) for c in lists):
            _refuse_structures(conditions)
        joined = [concatenate(column) for column in zip(*lists, strict=True)]
        return joined if isinstance(last, list) else _like(last, joined)
    return None


def _concatenate_tensors(tensors: Sequence[Tensor]) -> Tensor:
    last = tensors[-1]
    for tensor in tensors:
        if tensor.is_nested:
            raise ArgumentError(
                "got a nested tensor beside another condition, expected dense ones of one length: "
                "pad them and give their lengths or masks beside them"
            )
        if tensor.shape[1:] != last.shape[1:] or tensor.device != last.device:
            raise ArgumentError(
                f"got conditions of shape {tuple(tensor.shape)} on {tensor.device} and "
                f"{tuple(last.shape)} on {last.device}, expected one shape behind the batch and "
                "one device: pad them, or move one with .to(device)"
            )
    return torch.cat([tensor.to(last.dtype) for tensor in tensors])


def _refuse_structures(conditions: Sequence[Condition]) -> NoReturn:
    got = " and ".join(sorted({_outline(condition) for condition in conditions}))
    raise ArgumentError(
        f"got conditions of structure {got}, expected one structure: give the null condition the "
        "keys and the length of the condition"
    )


def _outline(condition: Condition) -> str:
    if isinstance(condition, dict):
        return "{" + ", ".join(sorted(condition)) + "}"
    if isinstance(condition, (list, tuple)):
        return f"{type(condition).__name__} of {len(condition)}"
    return type(condition).__name__


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


def shapes(condition: Condition) -> str:
    """Returns how a condition's tensors are shaped, for a message.

    Example:
        >>> shapes({"text": torch.zeros(2, 3), "labels": [torch.zeros(2), None]})
        '{text: (2, 3), labels: [(2,), None]}'
    """
    if isinstance(condition, Tensor):
        return str(tuple(condition.shape))
    if isinstance(condition, dict):
        return "{" + ", ".join(f"{key}: {shapes(leaf)}" for key, leaf in condition.items()) + "}"
    if isinstance(condition, (list, tuple)):
        return "[" + ", ".join(map(shapes, condition)) + "]"
    return str(condition)


def _like(original: tuple[Condition, ...], leaves: list[Condition]) -> tuple[Condition, ...]:
    """Returns leaves as a tuple, a named one where the original is."""
    make = getattr(type(original), "_make", tuple)
    return make(leaves)
