"""What becomes of NaN and infinity in a gradient, without waiting for a device.

At the first call, with diagnostics and with `check="always"` they are errors. At any other call the
samples that have them are not moved, which costs no wait; that it happened is remembered, and an
error at the next call that checks. On a CPU, where looking costs nothing, it is logged at once too.
"""

import logging
import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs.errors import PriorError, ScoreRegsError, ValueFunctionError

__all__ = ["Finiteness", "nonfinite_prediction", "nonfinite_value"]

_LOGGER = logging.getLogger(__name__)
_REMEMBERED = 256


def nonfinite_prediction(bad: Tensor, times: Tensor) -> PriorError:
    """Returns the error for predictions that are not finite.

    Args:
        bad: which are not, (draws, batch).
        times: (draws, batch).
    """
    rows, found = int(bad.any(0).sum()), times[bad]
    low, high = found.min().item(), found.max().item()
    where = f"t = {low:.4g}" if low == high else f"t from {low:.4g} to {high:.4g}"
    return PriorError(
        f"got NaN or infinity from the prior at {where}, in {rows} of {bad.shape[1]} rows, "
        "expected a finite prediction: check its weights and, in half precision, the range of its "
        "activations"
    )


def nonfinite_value(rows: int, batch: int) -> ValueFunctionError:
    """Returns the error for a value's gradient that is not finite."""
    return ValueFunctionError(
        f"got NaN or infinity in the value's gradient, in {rows} of {batch} rows, expected a "
        "finite gradient: look for sqrt, norm or division at zero in the value"
    )


@dataclass(frozen=True)
class _Event:
    """A call: which rows were not moved, which of them because of the value, and the times."""

    bad: Tensor
    of_value: Tensor
    times: Tensor | None
    call: int

    def error(self) -> ScoreRegsError | None:
        if not bool(self.bad.any()):
            return None
        if self.times is None or bool((self.bad & self.of_value).any()):
            return nonfinite_value(int(self.bad.sum()), len(self.bad))
        return nonfinite_prediction(self.bad.expand_as(self.times), self.times)


class Finiteness:
    """Keeps samples with a gradient that is not finite where they are, and remembers that."""

    def __init__(self) -> None:
        self._events: deque[_Event] = deque(maxlen=_REMEMBERED)
        self._calls = 0

    def guard(
        self, gradient: Tensor, value_gradient: Tensor | None, times: Tensor | None
    ) -> Tensor:
        """Returns the gradient, zero in the rows where it is not finite; waits for no device.

        Args:
            gradient: (batch, *event).
            value_gradient: the value's, (batch, *event), or None.
            times: (draws, batch), or None where the prior was left out.
        """
        self._calls += 1
        on_cpu = gradient.device.type == "cpu" and not torch.compiler.is_compiling()
        # A list of one element is read from memory; nothing else is done where all is well.
        if on_cpu and math.isfinite(gradient.detach().reshape(1, -1).sum(1).tolist()[0]):
            return gradient
        bad = _nonfinite_rows(gradient)
        of_value = bad & (False if value_gradient is None else _nonfinite_rows(value_gradient))
        event = _Event(bad, of_value, times, self._calls)
        self._events.append(event)
        if on_cpu:
            error = event.error()
            if error is None:  # the sum of large numbers
                self._events.pop()
            else:
                _LOGGER.warning("%s (the rows did not move)", error)
        return gradient.masked_fill(bad.reshape(-1, *[1] * (gradient.ndim - 1)), 0.0)

    def check(self) -> None:
        """Raises the error of the first call that was not finite since the last check, if any.

        It waits for the device.
        """
        events = list(self._events)
        self._events.clear()
        for event in events:
            error = event.error()
            if error is not None:
                ago = self._calls + 1 - event.call
                raise type(error)(f"{error} (found now, {ago} calls later; the rows did not move)")


def _nonfinite_rows(tensor: Tensor) -> Tensor:
    return ~tensor.detach().flatten(1).isfinite().all(1)
