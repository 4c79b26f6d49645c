"""What the commands of this folder share: refusals before any work, and endings in a line."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from scoreregs.errors import ArgumentError, ScoreRegsError

__all__ = ["each_once", "plain_errors"]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Ends the process in a line: an error of ours with 2, an interrupt with 128 and its signal.

    Example:
        >>> from scoreregs.errors import ArgumentError
        >>> with plain_errors():  # doctest: +IGNORE_EXCEPTION_DETAIL
        ...     raise ArgumentError("got --seeds 1 1, expected each once")
        Traceback (most recent call last):
        SystemExit: 2
    """
    try:
        yield
    except ScoreRegsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "interrupted", file=sys.stderr)
        number = getattr(interrupt, "signal_number", signal.SIGINT)
        raise SystemExit(128 + number) from None


def each_once(option: str, values: Sequence[object]) -> None:
    """Refuses an option without a value, or with one twice.

    Raises:
        ArgumentError: it is so.
    """
    if not values or len(set(values)) < len(values):
        got = " ".join(map(str, values)) or "without a value"
        raise ArgumentError(f"got {option} {got}, expected at least one, and each once")
