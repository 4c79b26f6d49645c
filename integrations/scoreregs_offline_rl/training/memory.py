"""Memory that a training step frees, kept for the next one."""

import ctypes
import os

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 2**30


def keep_freed_memory() -> bool:
    """Keeps up to 1 GiB of freed memory in the process, and returns whether this could be set.

    PyTorch has no pool of memory on the CPU. The GNU C library hands large blocks back to the
    system, and each step then waits until their pages are mapped and zeroed again. Settings of that
    library in the environment, MALLOC_TRIM_THRESHOLD_ and its like, have precedence.

    References:
        mallopt(3), Linux manual pages.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or not _has_gnu_library():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(name, _KEPT) == 1 for name in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))


def _has_gnu_library() -> bool:
    names = getattr(os, "confstr_names", {})
    return "CS_GNU_LIBC_VERSION" in names and os.confstr("CS_GNU_LIBC_VERSION") is not None
