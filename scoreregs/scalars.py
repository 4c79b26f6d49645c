"""Numbers of numpy as Python's."""

import numbers
from typing import Any

__all__ = ["plain"]

# Longer lists are data, which PyTorch reads.
_SHORT = 64


def plain(value: Any) -> Any:
    """Returns a number or truth value of numpy as Python's, in a short list too; else as it is.

    What is computed from them, compiled, written to a file or shown by `repr` is then the same.

    Example:
        >>> import numpy as np
        >>> plain((np.float64(0.5), np.int64(3))), plain("0.5")
        ((0.5, 3), '0.5')
    """
    kind = type(value)
    if kind in (tuple, list) and len(value) <= _SHORT:
        if any(type(element).__module__ == "numpy" for element in value):
            return kind(_plain_number(element) for element in value)
        return value
    return _plain_number(value)


def _plain_number(value: Any) -> Any:
    kind = type(value)
    if kind.__module__ != "numpy":
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return bool(value) if kind.__name__ in ("bool", "bool_") else value
