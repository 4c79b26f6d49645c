"""One directory, one job: whoever comes second is told who was first, and writes nothing.

The holder keeps a lock of the kernel on a file in the directory, which says who it is. The kernel
lets go of it however a process ends, so a file that nobody locks was left by a dead one of this
machine. Between machines kernels do not always tell each other, as on some network file systems: a
file of another host is believed, locked or not.
"""

import errno
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from scoreregs_offline_rl.errors import RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["LOCK", "holding"]

logger = logging.getLogger(__name__)

LOCK = "job.lock"
"""The file's name."""
_HELD: set[Path] = set()
_GUARD = threading.Lock()


@contextmanager
def holding(directory: Path, accelerator: Accelerator) -> Iterator[None]:
    """Holds a directory within the block; the processes of one launch hold it together.

    Raises:
        RunError: another process holds it, or nothing can be written there.
    """
    refusals: list[str | None] = [None]
    descriptor, made = -1, not directory.exists()
    if accelerator.is_main_process:
        try:
            descriptor = _acquire(directory)
        except RunError as error:
            refusals = [str(error)]
    broadcast_object_list(refusals)
    if refusals[0] is not None:
        raise RunError(refusals[0])
    try:
        yield
    finally:
        if accelerator.is_main_process:
            _release(directory, descriptor, made)


@dataclass(frozen=True)
class _Holder:
    """Who holds a directory."""

    host: str
    pid: int
    since: str

    @classmethod
    def current(cls) -> "_Holder":
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return cls(socket.gethostname(), os.getpid(), now)

    @classmethod
    def read(cls, descriptor: int) -> "_Holder | None":
        """Returns who has written a file; None where it is empty, or cut by a full disk."""
        try:
            content = json.loads(os.pread(descriptor, 4096, 0))
            return cls(str(content["host"]), int(content["pid"]), str(content["since"]))
        except (ValueError, KeyError, TypeError):
            return None

    def runs_here(self) -> bool:
        """Whether the process is there, of a holder on this host."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True


def _acquire(directory: Path) -> int:
    """Returns the descriptor of the locked file."""
    path, us = directory / LOCK, _Holder.current()
    with _GUARD:
        if directory.resolve() in _HELD:
            raise RunError(_held_by(directory, us, "this very process"))
        try:
            directory.mkdir(parents=True, exist_ok=True)
            descriptor, locked = _open(path)
        except OSError as error:
            raise RunError(
                f"got {directory}, in which nothing can be written ({error.strerror}): make room "
                "or give yourself the right to, or choose another run directory"
            ) from error
        try:
            _check_holder(directory, _Holder.read(descriptor), us, locked)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(us)).encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise RunError(f"cannot write {path}: {error.strerror}") from error
        except RunError:
            os.close(descriptor)
            raise
        _HELD.add(directory.resolve())
    return descriptor


def _release(directory: Path, descriptor: int, made: bool) -> None:
    with _GUARD:
        _HELD.discard(directory.resolve())
        # Removed while it is locked, so that nobody finds it free and then gone.
        with suppress(OSError):
            (directory / LOCK).unlink()
        os.close(descriptor)
        if made:
            # Where nothing came of the job there is no directory of it.
            with suppress(OSError):
                directory.rmdir()


def _open(path: Path) -> tuple[int, bool | None]:
    """Returns a descriptor, and whether it is locked; None where the kernel has no locks for it."""
    while True:
        try:
            descriptor, ours = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            try:
                descriptor, ours = os.open(path, os.O_RDWR), False
            except FileNotFoundError:
                continue
        locked = _lock(descriptor)
        try:
            same = os.path.samestat(os.fstat(descriptor), path.stat())
        except FileNotFoundError:
            same = False
        if same:
            # A file that we have made is as good as a lock.
            return descriptor, True if ours and locked is None else locked
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    if fcntl is None:
        return None
    try:
        # Unlike flock's, it is no child's, and is the server's business on a network file system.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EACCES, errno.EAGAIN) else None
    return True


def _check_holder(
    directory: Path, holder: _Holder | None, us: _Holder, locked: bool | None
) -> None:
    """Raises `RunError` unless the directory is ours, or was that of a process that is gone."""
    if locked is False:
        raise RunError(_held_by(directory, holder, "another process"))
    if holder is None:
        return
    if holder.host != us.host:
        raise RunError(
            f"got {directory}, which process {holder.pid} on {holder.host} has held since "
            f"{holder.since}, and whether it still runs cannot be told from {us.host}: wait for "
            f"it, or, where it is gone, remove {directory / LOCK}"
        )
    if locked is None and holder.pid != us.pid and holder.runs_here():
        raise RunError(_held_by(directory, holder, "another process"))
    logger.info(
        "%s was held by process %d since %s, which is gone; going on in its place",
        directory,
        holder.pid,
        holder.since,
    )


def _held_by(directory: Path, holder: _Holder | None, who: str) -> str:
    if holder is not None:
        who += f", {holder.pid} on {holder.host}, since {holder.since}"
    return (
        f"got {directory}, which is held by {who}: wait until it is through, stop it, or choose "
        "another run directory"
    )
