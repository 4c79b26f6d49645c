"""What becomes of NaN and infinity in a gradient, without waiting for a device.

At the first call, with diagnostics and with `check="always"` they are errors. At any other call the
samples that have them are not moved, which costs no wait; that it happened is remembered, and an
error at the next call that checks. On a CPU, where looking costs nothing, it is logged at once too.
Under torch.compile rows are counted on the device: a record of calls would be a new graph at each.
"""

import logging
import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs.errors import PriorError, ScoreRegsError, ValueFunctionError

__all__ = ["Finiteness", "nonfinite_prediction", "nonfinite_value"]

logger = logging.getLogger(__name__)
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
    """A call: the largest number of each row's gradient, of its value's, and the times."""

    largest: Tensor
    of_value: Tensor | None
    times: Tensor | None
    call: int

    def error(self) -> ScoreRegsError | None:
        bad = ~_is_finite(self.largest)
        if not bool(bad.any()):
            return None
        by_value = self.of_value is not None and bool((~_is_finite(self.of_value) & bad).any())
        if self.times is None or by_value:
            return nonfinite_value(int(bad.sum()), len(bad))
        return nonfinite_prediction(bad.expand_as(self.times), self.times)


class Finiteness:
    """Keeps samples with a gradient that is not finite where they are, and remembers that."""

    def __init__(self) -> None:
        self._events: deque[_Event] = deque(maxlen=_REMEMBERED)
        self._calls = 0
        # How many rows of compiled calls were not moved.
        self._compiled: Tensor | None = None

    def guard(
        self, gradient: Tensor, value_gradient: Tensor | None, times: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the gradient, zero in the rows where it is not finite, and which those are.

        It waits for no device; where it is known without that there are none, the latter is None.

        Args:
            gradient: (batch, *event).
            value_gradient: the value's, (batch, *event), or None.
            times: (draws, batch), or None where the prior was left out.
        """
        if torch.compiler.is_compiling():
            return self._guard_compiled(gradient)
        self._calls += 1
        on_cpu = gradient.device.type == "cpu"
        # A list of one element is read from memory; nothing else is done where all is well.
        if on_cpu and math.isfinite(gradient.reshape(1, -1).sum(1).tolist()[0]):
            return gradient, None
        largest = _largest(gradient)
        of_value = None if value_gradient is None else _largest(value_gradient)
        event = _Event(largest, of_value, times, self._calls)
        self._events.append(event)
        if on_cpu:
            error = event.error()
            if error is None:  # the sum of large numbers
                self._events.pop()
            else:
                logger.warning("%s (the rows did not move)", error)
        return _where_finite(largest, gradient)

    def _guard_compiled(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        guarded, unmoved = _where_finite(_largest(gradient), gradient)
        count = unmoved.sum()
        self._compiled = count if self._compiled is None else self._compiled + count
        return guarded, unmoved

    def check(self) -> None:
        """Raises the error of the first call that was not finite since the last check, if any.

        It waits for the device.
        """
        events, compiled = list(self._events), self._compiled
        self._events.clear()
        self._compiled = None
        for event in events:
            error = event.error()
            if error is not None:
                ago = self._calls + 1 - event.call
                raise type(error)(f"{error} (found now, {ago} calls later; the rows did not move)")
        if compiled is not None and bool(compiled > 0):
            raise PriorError(
                f"got NaN or infinity from the prior or the value in {int(compiled)} rows of "
                "compiled calls, expected finite ones (the rows did not move): check the weights "
                'of both, or call with check="always" and without torch.compile to see which'
            )


def _largest(tensor: Tensor) -> Tensor:
    """Returns the largest size of a number in each row; NaN and infinity go through."""
    return torch.linalg.vector_norm(tensor.detach().flatten(1), math.inf, dim=1)


def _is_finite(largest: Tensor) -> Tensor:
    # In place of isfinite, which is four operations; NaN is less than nothing.
    return largest < math.inf


def _where_finite(largest: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    finite = _is_finite(largest)
    rows = finite.reshape(-1, *[1] * (gradient.ndim - 1))
    return torch.where(rows, gradient, 0.0), ~finite
