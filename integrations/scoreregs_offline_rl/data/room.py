"""Whether the arrays that a file tells of fit into memory, before any of them is made."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence

from scoreregs_offline_rl.errors import DataError

__all__ = ["Room"]


class Room:
    """The memory of this machine, of which the arrays of a data set take their part.

    Args:
        source: what messages call the data.

    Example:
        >>> Room("log.npz").take("rewards", (1 << 60,), 4)
        Traceback (most recent call last):
        scoreregs_offline_rl.errors.DataError: log.npz, key 'rewards': got shape ...
    """

    def __init__(self, source: str) -> None:
        self._source, self._left = source, _memory()

    def take(self, key: str, shape: Sequence[int], itemsize: int) -> None:
        """Takes what an array needs.

        Args:
            key: of the array.
            shape: its shape; a side of 0 counts as 1, since what is made of it may be as long.
            itemsize: bytes of a number.

        Raises:
            DataError: where it does not fit beside those before it.
        """
        needed = math.prod(max(int(size), 1) for size in shape) * max(itemsize, 1)
        if needed > self._left:
            raise DataError(
                f"got shape {tuple(shape)!s:.80}, which takes {needed} bytes, expected no more "
                f"than the memory left here, {self._left}",
                source=self._source,
                key=key,
                remedy="see that the file is whole, or read it where there is more memory",
            )
        self._left -= needed


def _memory() -> int:
    """Bytes of this machine, as far as it tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize
