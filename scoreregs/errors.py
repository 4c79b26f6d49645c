"""The errors of scoreregs.

Every error that the library raises itself derives from `ScoreRegsError`. A message says what was
got, what was expected and how to mend it.
"""

__all__ = [
    "ArgumentError",
    "MissingDependencyError",
    "PriorError",
    "ScoreRegsError",
    "SingularTimeError",
    "ValueFunctionError",
]


class ScoreRegsError(Exception):
    """Root of every error raised by scoreregs."""


class ArgumentError(ScoreRegsError, ValueError):
    """An argument has a wrong shape, type, device or range."""


class SingularTimeError(ArgumentError):
    """The gradient has no finite value at a time that was asked for."""


class PriorError(ScoreRegsError):
    """A prior returned something that is not a prediction at its input."""


class ValueFunctionError(ScoreRegsError):
    """A value function returned something that has no gradient with respect to x."""


class MissingDependencyError(ScoreRegsError, ImportError):
    """An optional package is needed and not installed; the message names the extra."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"got no package {package!r}, expected it to be importable: "
            f"install it with `pip install 'scoreregs[{extra}]'`"
        )
