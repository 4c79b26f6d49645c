"""Checks of arguments that every part shares, and how calls that do not fit are refused."""

import difflib
import functools
import inspect
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeGuard, TypeVar, get_args, get_origin

import torch
from torch import Tensor
from typing_extensions import Unpack

from scoreregs.errors import ArgumentError
from scoreregs.scalars import plain

__all__ = [
    "COMPUTED",
    "accepts",
    "check_choice",
    "check_count",
    "check_decay",
    "check_flag",
    "check_floating",
    "check_function",
    "check_generator",
    "check_has_values",
    "check_keywords",
    "check_method",
    "check_numbers",
    "check_pair",
    "check_positive",
    "check_range",
    "is_computed",
    "kind_of",
    "named_calls",
    "nearest",
]

# What a method is called on.
_BOUND = {"self", "cls"}

Function = TypeVar("Function", bound=Callable[..., Any])


def nearest(got: object, names: Iterable[str]) -> str:
    """Returns a question for the name that is most like what was got, or nothing.

    Example:
        >>> nearest("weigthing", ["weighting", "baseline"])
        "; did you mean 'weighting'?"
    """
    found = difflib.get_close_matches(got, list(names), n=1) if isinstance(got, str) else []
    return f"; did you mean {found[0]!r}?" if found else ""


def check_keywords(got: Iterable[str], known: Iterable[str]) -> None:
    """Raises `ArgumentError` for a keyword that is not known, with the nearest one that is."""
    known = sorted(known)
    for name in got:
        if name not in known:
            raise ArgumentError(
                f"got the keyword {name!r}, expected some of {', '.join(known)}"
                f"{nearest(name, known)}"
            )


def named_calls(function: Function) -> Function:
    """Returns a function or class whose calls that do not fit its signature are refused by us.

    It takes the numbers of numpy as Python's, see `plain`.
    Further options, `**options: Unpack[Options]`, are looked at before anything is done.

    Raises:
        ArgumentError: where a keyword is not known, with the nearest one, or an argument is missing
            or too many.

    Example:
        >>> @named_calls
        ... def scaled(x, factor=2):
        ...     return factor * x
        >>> scaled(1, fcator=3)
        Traceback (most recent call last):
        scoreregs.errors.ArgumentError: got the keyword 'fcator', expected some of factor, x; ...
    """
    if inspect.isclass(function):
        own = vars(function).get("__init__") or _inherited(function)
        function.__init__ = _named(own, function.__name__)
        return function  # pyright: ignore[reportReturnType]
    return _named(function, getattr(function, "__name__", "the function"))


def _named(function: Any, name: str) -> Any:
    signature = inspect.signature(function)
    known = _known_options(signature)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tuple(map(plain, args)), {k: plain(v) for k, v in kwargs.items()}
        if known is not None:
            check_keywords(kwargs, known)
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            _refuse(signature, name, args, kwargs, error)
            raise

    return call


def _inherited(kind: type) -> Any:
    """Returns the construction that a class without one of its own has from its bases."""

    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        # Of what comes next to it in a subclass too, which may be a `torch.nn.Module`.
        super(kind, self).__init__(*args, **kwargs)

    # That of `object` says that it takes anything.
    nothing = kind.__init__ is object.__init__
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    signature = inspect.Signature(parameters) if nothing else inspect.signature(kind.__init__)
    construct.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    return construct


def _known_options(signature: inspect.Signature) -> set[str] | None:
    """Returns all keywords of a signature with `**options: Unpack[...]`, None for another."""
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD and get_origin(parameter.annotation) is Unpack:
            (options,) = get_args(parameter.annotation)
            named = (p.name for p in signature.parameters.values() if p is not parameter)
            return {*named, *options.__annotations__} - _BOUND
    return None


def _refuse(
    signature: inspect.Signature, name: str, args: Any, kwargs: Any, error: TypeError
) -> None:
    """Raises `ArgumentError` where the arguments do not fit the signature."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as misfit:
        known = [p.name for p in signature.parameters.values() if p.kind is not p.POSITIONAL_ONLY]
        check_keywords(kwargs, [name for name in known if name not in _BOUND])
        rest = [p for p in signature.parameters.values() if p.name not in _BOUND]
        told = str(signature.replace(parameters=rest)).split(" -> ")[0]
        raise ArgumentError(
            f"got a call of {name} that does not fit ({misfit}), expected {name}{told}"
        ) from error


def accepts(function: Callable[..., Any], count: int) -> bool | None:
    """Returns whether a function or module takes `count` positional arguments; None if unknown.

    Example:
        >>> accepts(lambda x, t: x, 2), accepts(lambda x, t: x, 3), accepts(print, 3)
        (True, False, True)
    """
    called = _called(function)
    # What TorchScript traced has a schema in place of a signature; of a method, with its module.
    schema = getattr(called, "schema", None)
    if isinstance(schema, torch.FunctionSchema):
        arguments = schema.arguments[isinstance(called, torch.ScriptMethod) :]
        required = [a for a in arguments if not a.has_default_value()]
        return len(required) <= count <= len(arguments)
    try:
        inspect.signature(called).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return None
    return True


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns what is called in the end: a module's forward, behind a compiler or several GPUs."""
    if isinstance(function, functools.partial):
        return functools.partial(_called(function.func), *function.args, **function.keywords)
    # `torch.vmap` and decorators wrap a module; what a method wraps has lost its instance.
    if not inspect.ismethod(function):
        function = inspect.unwrap(function)
    if isinstance(function, torch.nn.Module):
        inner = getattr(function, "_orig_mod", getattr(function, "module", function))
        return getattr(inner, "forward", function)
    return function


def check_numbers(**got: object) -> None:
    """Raises `ArgumentError` unless each is a number."""
    for name, value in got.items():
        single = isinstance(value, Tensor) and value.ndim == 0 and value.dtype != torch.bool
        number = single or (isinstance(value, numbers.Real) and not isinstance(value, bool))
        if not number or value != value:  # NaN is not itself
            raise ArgumentError(
                f"got {name}={value!r}, expected a number: use float(...) on what was read as text"
            )


def check_count(name: str, got: object) -> None:
    """Raises `ArgumentError` unless a count is an integer of at least 1."""
    if isinstance(got, bool) or not isinstance(got, int) or got < 1:
        raise ArgumentError(f"got {name}={got!r}, expected an integer of at least 1")


def check_choice(name: str, got: object, expected: Sequence[object]) -> None:
    """Raises `ArgumentError` unless an option is one of its choices."""
    if not isinstance(got, (str, type(None))) or got not in expected:
        hint = nearest(got, [name for name in expected if isinstance(name, str)])
        choices = ", ".join(map(repr, expected))
        raise ArgumentError(f"got {name}={got!r}, expected one of {choices}{hint}")


def check_positive(**got: object) -> None:
    """Raises `ArgumentError` unless each is a finite number > 0."""
    check_numbers(**got)
    for name, value in got.items():
        if not 0 < value < float("inf"):  # pyright: ignore[reportOperatorIssue]
            raise ArgumentError(f"got {name}={value!r}, expected a finite number > 0")


def check_decay(decay: object) -> None:
    """Raises `ArgumentError` unless what a running mean keeps of its past is in [0, 1)."""
    check_numbers(decay=decay)
    if not 0 <= decay < 1:  # pyright: ignore[reportOperatorIssue]
        raise ArgumentError(f"got decay={decay!r}, expected a number in [0, 1), such as 0.99")


def check_pair(name: str, got: object) -> tuple[float, float]:
    """Returns the two numbers of a pair.

    Raises:
        ArgumentError: for anything else.
    """
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise ArgumentError(f"got {name}={got!r}, expected two numbers (low, high)")
    check_numbers(**{f"{name}[{i}]": number for i, number in enumerate(got)})
    return got[0], got[1]


def check_range(low: object, high: object) -> None:
    """Raises `ArgumentError` unless these are the bounds of a range of times."""
    check_numbers(low=low, high=high)
    if not 0 <= low < high <= 1:  # pyright: ignore[reportOperatorIssue]
        raise ArgumentError(
            f"got the time range ({low}, {high}), expected 0 <= low < high <= 1: 0 is data and 1 "
            "is noise for every schedule; the paper's range is (0.02, 0.98)"
        )


def check_function(name: str, got: object, of: str) -> None:
    """Raises `ArgumentError` unless this can be called; a class is not meant.

    Args:
        name: the argument's.
        got: the argument.
        of: what it is a function of, for the message.
    """
    if not callable(got) or isinstance(got, type):
        kind = f"the class {got.__name__}" if isinstance(got, type) else type(got).__name__
        raise ArgumentError(f"got {name} of type {kind}, expected a function of {of}")


def check_method(instance: object, name: str, arguments: Sequence[str]) -> None:
    """Raises `ArgumentError` unless a method that a subclass wrote takes these arguments."""
    if accepts(getattr(instance, name), len(arguments)) is False:
        kind, told = type(instance).__name__, ", ".join(("self", *arguments))
        raise ArgumentError(
            f"got a {kind}.{name} of other arguments, expected `def {name}({told})`, whether it "
            "uses them all or not"
        )


def check_flag(name: str, got: object) -> None:
    """Raises `ArgumentError` unless a flag is True or False."""
    if not isinstance(plain(got), bool):
        raise ArgumentError(f"got {name}={got!r}, expected True or False")


def check_generator(generator: object, device: torch.device | None = None) -> None:
    """Raises `ArgumentError` unless a generator is one, on a device if that is given, or None."""
    if generator is None:
        return
    if not isinstance(generator, torch.Generator) and not hasattr(generator, "device"):
        seed = generator if isinstance(generator, int) else 0
        raise ArgumentError(
            f"got generator={generator!r}, expected a torch.Generator or None: for a seed, use "
            f"torch.Generator().manual_seed({seed})"
        )
    if device is not None and generator.device.type != device.type:  # pyright: ignore[reportAttributeAccessIssue]
        raise ArgumentError(
            f"got a generator on {generator.device} for x on {device}, expected one device: use "  # pyright: ignore[reportAttributeAccessIssue]
            f"torch.Generator(device={str(device)!r})"
        )


# An eighth of a word is for keeping numbers, not for computing with them.
COMPUTED = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def is_computed(got: object) -> TypeGuard[Tensor]:
    """Whether this is a dense floating point tensor that can be computed with."""
    return (
        isinstance(got, Tensor)
        and got.dtype in COMPUTED
        and got.layout is torch.strided
        and not got.is_nested
    )


def kind_of(got: object) -> str:
    """Returns what kind of tensor or object this is, for a message."""
    if not isinstance(got, Tensor):
        return type(got).__name__
    nested = "nested " if got.is_nested else ""
    layout = "" if got.layout is torch.strided else f" with layout {got.layout}"
    return f"{nested}{got.dtype}{layout}"


def check_has_values(name: str, got: Tensor) -> None:
    """Raises `ArgumentError` for a tensor on the meta device, of which there is only a shape."""
    if got.is_meta:
        raise ArgumentError(
            f"got {name} of shape {tuple(got.shape)} on the meta device, where tensors have no "
            "values, expected one with values: make it on 'cpu' or a GPU"
        )


def check_floating(name: str, got: object) -> None:
    """Raises `ArgumentError` unless this is a floating point tensor with a batch."""
    if not is_computed(got):
        raise ArgumentError(
            f"got {name} of type {kind_of(got)}, expected a floating point tensor: use "
            f"torch.as_tensor({name}, dtype=torch.float32)"
        )
    if got.ndim < 2 or not got.numel():
        raise ArgumentError(
            f"got {name} of shape {tuple(got.shape)}, expected a non-empty (batch, *event): add "
            "the batch dimension with x[None], or an event dimension with x[:, None]"
        )
