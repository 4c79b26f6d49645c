"""The modules behind a callable: what it closes over, is bound to or refers to; their modes."""

import dis
import functools
import types
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from typing_extensions import override

__all__ = ["Evaluating", "dtype_of", "dtypes_of", "modules_of"]

# What one looks into: this many steps from the callable, and no longer containers.
_DEEPEST, _LONGEST = 6, 256
# How an object is called: any, and a prior.
_CALLED = ("__call__", "predict")
_PLAIN = (str, int, float, type, type(None))
_OURS = ("scoreregs",)
# Classes that hold numbers alone; a subclass of one's own is in another module.
_EMPTY = ("scoreregs.schedules.", "scoreregs.predictions")
_OPAQUE = ("torch", "numpy", "builtins", "collections", "typing", "einops", "functools")


def modules_of(found: object) -> Iterator[nn.Module]:
    """Yields the modules of an object, each once.

    It is a module; a partial, a bound method, a function with modules among what it closes over,
    its defaults or the globals that it refers to, directly or through functions beside it; an
    object with modules among its attributes, slots or what its class's methods refer to; or a
    list, tuple, dict, set or deque of these.

    Example:
        >>> import torch
        >>> network = nn.Linear(2, 2)
        >>> [m is network for m in modules_of(functools.partial(torch.add, [network, network]))]
        [True]
    """
    modules: list[nn.Module] = []
    _search([found], modules, set(), 0)
    return iter(modules)


def _search(parts: list[Any], modules: list[nn.Module], seen: set[int], depth: int) -> None:
    """Adds the modules of some objects; a loop, not generators, as every call of a prior has it."""
    for part in parts:
        if isinstance(part, _PLAIN) or id(part) in seen:
            continue
        if isinstance(part, nn.Module):
            seen.add(id(part))
            modules.append(part)
        elif depth <= _DEEPEST:
            within = _parts(part)
            if within:
                seen.add(id(part))
                _search(within, modules, seen, depth + 1)


def _parts(found: Any) -> list[Any]:
    """Returns what an object holds or refers to."""
    if isinstance(found, (list, tuple)):
        return list(found[:_LONGEST])
    if isinstance(found, dict):
        return list(found.values()) if len(found) <= _LONGEST else []
    if isinstance(found, (set, frozenset, deque)):
        return list(found) if len(found) <= _LONGEST else []
    if type(found).__module__.startswith(_EMPTY):
        return []
    if isinstance(found, functools.partial):
        return [found.func, found.args, found.keywords]
    if isinstance(found, types.MethodType):
        owner = found.__self__
        kind = owner if isinstance(owner, type) else type(owner)
        return [owner, found.__func__, *_of_class(kind, (found.__name__,))]
    if isinstance(found, types.FunctionType):
        return _referred(found)
    held = getattr(found, "__dict__", {})
    if isinstance(found, types.ModuleType) or _within(type(found), _OPAQUE):
        return [held.get("__wrapped__")]  # as of functools.cache
    if isinstance(held.get("modules"), tuple):  # a prior that was told
        return list(held["modules"])
    if _within(type(found), _OURS):
        return list(held.values())
    slots = [getattr(found, name, None) for name in _slots(type(found))]
    return [held, *slots, *_of_class(type(found), _CALLED)]


def _within(found: Any, packages: tuple[str, ...]) -> bool:
    """Whether a function or class is of one of these packages, which refer to no network."""
    return (found.__module__ or "").split(".")[0] in packages


@functools.lru_cache(maxsize=256)
def _slots(kind: type) -> tuple[str, ...]:
    """Returns the slots of a class."""
    slots = [base.__dict__.get("__slots__", ()) for base in kind.__mro__]
    return tuple(name for each in slots for name in ([each] if isinstance(each, str) else each))


def _of_class(kind: type, names: tuple[str, ...]) -> list[Any]:
    """Returns methods of a class, those that they refer to, and its attributes that these name."""
    return [_of_kind(kind, name) for name in _reached(kind, names)]


@functools.lru_cache(maxsize=256)
def _reached(kind: type, names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names of a class's own attributes that methods of these names lead to."""
    reached: dict[str, None] = {}
    waiting = [] if _within(kind, (*_OPAQUE, *_OURS)) else list(names)
    while waiting:
        name = waiting.pop()
        value = _of_kind(kind, name)
        if name not in reached and value is not None:
            reached[name] = None
            if isinstance(value, types.FunctionType):
                waiting += _names(value.__code__)[0]
    return tuple(reached)


def _of_kind(kind: type, name: str) -> Any:
    """Returns an attribute of a class as it is written there, the function of a method."""
    for base in kind.__mro__[:-1]:
        if name in base.__dict__:
            value = base.__dict__[name]
            return getattr(value, "__func__", getattr(value, "fget", value))
    return None


def _referred(function: types.FunctionType) -> list[Any]:
    cells = list(map(_contents, function.__closure__ or ()))
    if _within(function, (*_OPAQUE, *_OURS)):
        return [getattr(function, "__wrapped__", None), *cells]
    parts = [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    attributes, names = _names(function.__code__)
    parts += [function.__globals__.get(name) for name in names]
    for value in list(parts):
        if isinstance(value, types.ModuleType):
            # As `models.network(x)` after `import models`.
            held = (vars(value).get(attribute) for attribute in attributes)
            parts += [v for v in held if isinstance(v, (nn.Module, types.FunctionType))]
        elif isinstance(value, type):
            parts += _of_class(value, attributes)
    return parts


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the attributes and the globals that a function refers to, inner functions too."""
    attributes: dict[str, None] = {}
    names: dict[str, None] = {}
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names[instruction.argval] = None
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            attributes[instruction.argval] = None
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = _names(constant)
            attributes.update(dict.fromkeys(inner[0]))
            names.update(dict.fromkeys(inner[1]))
    return tuple(attributes), tuple(names)


for _constant in (_names, _reached, _slots):
    # What torch.compiler.assume_constant_result sets, which by itself would load the compiler.
    _constant._dynamo_marked_constant = True  # pyright: ignore[reportAttributeAccessIssue]


class Evaluating(AbstractContextManager[None]):
    """A context without gradient, in which modules are in eval mode; each gets its own mode back.

    Not a generator's, which takes longer to enter and to leave.

    Args:
        networks: the modules; those within them are meant too.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        self._networks = networks

    @override
    def __enter__(self) -> None:
        self._gradient = torch.is_grad_enabled()
        self._modules = _in_training(self._networks)
        for module in self._modules:
            module.training = False
        torch.set_grad_enabled(False)

    @override
    def __exit__(self, *exception: object) -> None:
        torch.set_grad_enabled(self._gradient)
        for module in self._modules:
            module.training = True


def _in_training(networks: Iterable[nn.Module]) -> list[nn.Module]:
    """Returns the modules in training mode among some and those within them.

    `modules` names them, which takes longer.
    """
    found: list[nn.Module] = []
    seen: set[nn.Module] = set()
    waiting: list[nn.Module | None] = list(networks)
    while waiting:
        module = waiting.pop()
        if module is not None and module not in seen:
            seen.add(module)
            # A frozen TorchScript module has no mode any more.
            if getattr(module, "training", False):
                found.append(module)
            waiting.extend(module._modules.values())
    return found


def dtype_of(module: nn.Module) -> torch.dtype | None:
    """Returns the dtype of the first floating parameter, in the order of `modules`.

    One of an eighth of a word is only kept in it.
    """
    for parameters in _parameters(module):
        for parameter in parameters:
            if parameter is not None and parameter.is_floating_point() and parameter.itemsize > 1:
                return parameter.dtype
    return None


def dtypes_of(module: nn.Module) -> tuple[tuple[torch.dtype, int], ...]:
    """Returns the dtypes of all parameters, in the order of `modules`, each with its run's length.

    Example:
        >>> dtypes_of(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).half()))
        ((torch.float32, 2), (torch.float16, 2))
    """
    runs: list[tuple[torch.dtype, int]] = []
    dtype, length = None, 0
    for parameters in _parameters(module):
        for parameter in parameters:
            if parameter is None:
                continue
            if dtype is not None and parameter.dtype != dtype:
                runs.append((dtype, length))
                length = 0
            dtype, length = parameter.dtype, length + 1
    return tuple(runs) if dtype is None else (*runs, (dtype, length))


def _parameters(module: nn.Module) -> Iterator[Iterable[nn.Parameter | None]]:
    """Yields the parameters of a module and of those within it that have any."""
    seen: set[nn.Module] = set()
    waiting: list[nn.Module | None] = [module]
    while waiting:
        part = waiting.pop()
        if part is None or part in seen:
            continue
        seen.add(part)
        if part._parameters:
            yield part._parameters.values()
        waiting.extend(reversed(part._modules.values()))
