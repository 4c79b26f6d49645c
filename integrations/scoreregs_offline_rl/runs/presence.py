"""Whether the other processes of a divided sweep still train, by a file that each keeps fresh."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import writing

__all__ = ["await_parts", "present"]

_SIGN = "alive"
_BEAT = 5.0
# A network file system may show a file's time a minute late.
_SILENCE = 180.0
_POLL = 1.0


@contextmanager
def present(folder: Path) -> Iterator[None]:
    """Shows others that a part is being trained, as long as the block runs.

    A process that is killed leaves the file, but touches it no more; nor does a disk have to be
    written when it fails, which may be full.

    Args:
        folder: of the part.
    """
    sign, done = folder / _SIGN, threading.Event()
    with writing(sign):
        folder.mkdir(parents=True, exist_ok=True)
        sign.touch()

    def beat() -> None:
        while not done.wait(_BEAT):
            with suppress(OSError):
                sign.touch()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        sign.unlink(missing_ok=True)


def await_parts(folders: Sequence[Path], is_done: Callable[[Path], bool]) -> None:
    """Returns when all parts are done.

    Args:
        folders: of the parts.
        is_done: whether a part is.

    Raises:
        RunError: one of them has failed, or its process is gone.
    """
    seen: dict[Path, tuple[float | None, float]] = {}
    waiting = list(folders)
    while waiting:
        for folder in tuple(waiting):
            # Before it is asked whether it is done, which it may become in between.
            sign, now = _time_of(folder), time.monotonic()
            before, since = seen.get(folder, (None, now))
            # By our clock: that of another machine may be wrong.
            seen[folder] = sign, (since if sign == before and folder in seen else now)
            if is_done(folder):
                waiting.remove(folder)
            elif sign is None or now - seen[folder][1] > _SILENCE:
                raise RunError(
                    f"got the part {folder} of the sweep, whose process has ended before it was "
                    "finished: see what it has printed; what is trained is kept, and the same "
                    "command goes on"
                )
        if waiting:
            time.sleep(_POLL)


def _time_of(folder: Path) -> float | None:
    try:
        return (folder / _SIGN).stat().st_mtime
    except OSError:
        return None
