"""Signals that ask a training to stop, taken note of until a step is over."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["InterruptedRun", "SignalWatch", "agreed", "interruption", "watch_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRun(KeyboardInterrupt):
    """A training stopped because a signal asked for it; what it had done is saved.

    A `KeyboardInterrupt`, so that no loop over runs takes it for the failure of one of them.

    Args:
        stage: the stage that was running.
        step: its steps so far, all of them saved.
        steps: its steps in all.
        signal_number: the signal, SIGINT where another process received it.
    """

    def __init__(self, stage: str, step: int, steps: int, signal_number: int) -> None:
        super().__init__(
            f"interrupted, saved the {stage} stage at step {step} of {steps}: "
            "the same command goes on from there"
        )
        self.stage, self.step, self.steps = stage, step, steps
        self.signal_number = signal_number


class SignalWatch:
    """What `watch_signals` saw.

    Attributes:
        received: the signal that came; None before one does.
    """

    def __init__(self) -> None:
        self.received: int | None = None


@contextmanager
def watch_signals() -> Iterator[SignalWatch]:
    """Notes SIGINT and SIGTERM within the block in place of acting on them.

    A second signal acts at once; one that was ignored before stays so. The handlers are those of
    before after the block. Outside of the main thread, where Python allows no handlers, nothing is
    watched.
    """
    watch = SignalWatch()
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    # What the caller ignores, as `nohup ... &` does, stays ignored.
    before = {number: found for number, found in handlers.items() if found != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            # None: a handler that was not installed from Python, which cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if watch.received is not None:
            restore()
            signal.raise_signal(number)
        watch.received = number

    for number in before:
        signal.signal(number, note)
    try:
        yield watch
    finally:
        restore()


def agreed(accelerator: Accelerator, watch: SignalWatch) -> bool:
    """Returns whether a signal came to any process; each must ask at the same step."""
    if accelerator.num_processes == 1:
        return watch.received is not None
    if watch.received is not None:
        accelerator.set_trigger()
    return accelerator.check_trigger()


def interruption(name: str, step: int, steps: int, watch: SignalWatch) -> InterruptedRun:
    """Returns what to raise after a signal, which may have come to another process."""
    number = signal.SIGINT if watch.received is None else watch.received
    return InterruptedRun(name, step, steps, number)
