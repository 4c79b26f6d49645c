"""The processes of a launch fail together: where one fails alone, the others wait for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import PartialState
from accelerate.utils import gather_object

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import first_line

__all__ = ["losing_others", "together"]

# What Gloo and NCCL say where the process at the other end is gone.
_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL")


@contextmanager
def together() -> Iterator[None]:
    """Fails in every process where its block fails in one; no process leaves before all are there.

    Nothing in the block may wait for another process.

    Raises:
        RunError: the block has failed in another process.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    if PartialState().num_processes > 1:
        failures = [found for found in gather_object([_told(failure)]) if found is not None]
        if failure is None and failures:
            raise failures[0]
    if failure is not None:
        raise failure


@contextmanager
def losing_others() -> Iterator[None]:
    """Turns what is raised where another process has ended within the block into one line.

    Raises:
        RunError: another process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        if PartialState().num_processes == 1 or not any(text in str(error) for text in _GONE):
            raise
        raise RunError(
            "got no answer from another process of this launch, which has ended: see what it has "
            "printed, and the same command goes on from the newest checkpoint"
        ) from error


def _told(failure: Exception | None) -> RunError | None:
    """Returns what other processes are told of a failure."""
    if failure is None or isinstance(failure, RunError):
        return failure
    return RunError(f"another process failed: {first_line(failure)}")
