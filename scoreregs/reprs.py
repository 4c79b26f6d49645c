"""How objects read: as their construction, on a line."""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

__all__ = ["Constructed", "construction", "short"]

_MISSING: Any = object()
_LONGEST = 80
_MOST = 4


class Constructed:
    """What reads like the call that made it, a `torch.nn.Module` too."""

    # Whether arguments that are as by default are told.
    _tells_defaults: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Whichever base comes first: a module's own repr is a list of its submodules.
        if cls.__repr__ is nn.Module.__repr__:
            cls.__repr__ = Constructed.__repr__

    @override
    def __repr__(self) -> str:
        return construction(self, defaults=self._tells_defaults)


def construction(instance: object, *, of: type | None = None, defaults: bool = True) -> str:
    """Returns an object as the call that made it, as far as its attributes tell the arguments.

    Args:
        instance: the object; an argument `a` is its attribute `_a` or `a`.
        of: the type whose arguments are told, the object's own by default.
        defaults: whether arguments that are as by default are told.

    Example:
        >>> class Line:
        ...     def __init__(self, slope, offset=0.0):
        ...         self.slope, self._offset = slope, offset
        >>> construction(Line(2.0)), construction(Line(2.0), defaults=False)
        ('Line(slope=2, offset=0)', 'Line(slope=2)')
    """
    told = []
    for parameter in inspect.signature(of or type(instance)).parameters.values():
        value = getattr(instance, f"_{parameter.name}", getattr(instance, parameter.name, _MISSING))
        same = type(value) is type(parameter.default) and value == parameter.default
        if value is not _MISSING and (defaults or not same):
            told.append(f"{parameter.name}={short(value)}")
    return f"{type(instance).__name__}({', '.join(told)})"


def short(value: object) -> str:
    """Returns a value on part of a line: a tensor by its shape, a module by its type.

    Example:
        >>> import torch
        >>> short([0.5, torch.zeros(2, 3), torch.nn.Linear(2, 3), len])
        '[0.5, tensor of shape (2, 3), Linear(...), len]'
    """
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Tensor):
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, torch.Generator):
        return f"torch.Generator({str(value.device)!r})"
    if isinstance(value, nn.Module) and type(value).__repr__ is nn.Module.__repr__:
        return f"{type(value).__name__}(...)"
    if isinstance(value, (list, tuple)):
        brackets = "[]" if isinstance(value, list) else "()"
        return f"{brackets[0]}{_joined(list(map(short, value[:_MOST])), len(value))}{brackets[1]}"
    if isinstance(value, dict):
        items = [f"{key!r}: {short(value[key])}" for key in list(value)[:_MOST]]
        return f"{{{_joined(items, len(value))}}}"
    if isinstance(value, partial):
        return f"partial({short(value.func)}, ...)"
    if inspect.isroutine(value) or inspect.isclass(value):
        return value.__qualname__.rsplit("<locals>.", 1)[-1]
    text = repr(value)
    if "\n" in text:  # as an optimiser's, of its parameters
        return f"{type(value).__name__}(...)"
    custom = type(value).__module__.startswith("scoreregs")
    return text if custom or len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _joined(parts: Sequence[str], count: int) -> str:
    return ", ".join([*parts, "..."] if count > len(parts) else parts)
