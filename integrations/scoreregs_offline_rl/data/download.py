"""Downloads that go on where they were cut, and appear whole or not at all."""

from __future__ import annotations

import hashlib
import http
import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.files import load_json, save_json

__all__ = ["DownloadProgress", "download", "download_data", "mirrored", "no_download_progress"]

logger = logging.getLogger(__name__)

_ATTEMPTS = 4
_TIMEOUT = 30.0
_PAUSE = 0.5
_CHUNK = 1 << 18
# 416 is one because the next request asks for no range.
_TEMPORARY = (408, 416, 425, 429, 500, 502, 503, 504)

DownloadProgress = Callable[[int, int | None], None]
"""Called with the bytes that are there, and with how many there will be if the server says so."""


def no_download_progress(received: int, total: int | None) -> None:
    """Shows nothing.

    Args:
        received: bytes that are there.
        total: bytes that there will be, if known.
    """


def mirrored(mirror: str, file: str, name: str) -> str:
    """Returns the URL of a file at a mirror.

    Args:
        mirror: the URL of a folder, or one in which {file} or {name} is replaced.
        file: name of the file.
        name: of the data set.

    Example:
        >>> mirrored("https://host/sets", "a.npz", "a")
        'https://host/sets/a.npz'
        >>> mirrored("https://host/{name}", "a.npz", "a")
        'https://host/a'
    """
    if "{" not in mirror:
        mirror = mirror.rstrip("/") + "/{file}"
    return mirror.replace("{file}", file).replace("{name}", name)


class _RefusedError(Exception):
    """A server that will not give the file."""


class _CutError(Exception):
    """A connection that may do better the next time."""


def download(
    urls: Sequence[str],
    path: Path,
    *,
    check: Callable[[Path], None],
    progress: DownloadProgress = no_download_progress,
) -> None:
    """Downloads the first of some URLs that works to `path`, unless it is there.

    What a cut connection or an ended process left is gone on with (HTTP Range), if the server still
    has the same file and can; else it starts afresh. Several processes may call this at a time; one
    of them downloads.

    Args:
        urls: http or https, tried in this order.
        path: the file; its directory is created.
        check: raises a DataError where a whole download is not what is wanted.
        progress: told how far it is.

    Raises:
        DataError: where no URL gave the file. The message says why, URL by URL.
        OSError: where the directory cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return
        for url in urls:
            partial = _Partial.of(path, url)
            logger.info("downloading %s", url)
            try:
                _fetch(url, partial, progress)
                check(partial.path)
            except _RefusedError as error:
                failures.append(f"{url}: {error}")
            except DataError as error:
                partial.delete()
                failures.append(f"{url}: {error.problem}")
            else:
                partial.path.replace(path)
                partial.delete()
                return
    raise DataError(f"got no file from {len(urls)} URL(s): {'; '.join(failures)}", source=str(path))


def download_data(
    urls: Sequence[str],
    path: Path,
    *,
    check: Callable[[Path], None],
    progress: DownloadProgress,
    folder: str,
    mirrors: str = "--loading.mirrors",
) -> Path:
    """Downloads the file of a task, see `download`, and returns its path.

    Args:
        urls: as of `download`, like the next three.
        path: see there.
        check: see there.
        progress: see there.
        folder: environment variable that says where such files lie.
        mirrors: where the user names further URLs.

    Raises:
        DataError: where it cannot be downloaded or written.
    """
    try:
        download(urls, path, check=check, progress=progress)
    except DataError as error:
        remedy = f"download it by hand to this path, or name a mirror with {mirrors}"
        raise DataError(error.problem, source=error.source, remedy=remedy) from error
    except OSError as error:
        raise DataError(
            f"got a folder that cannot be written ({error}), expected a writable one",
            source=str(path),
            remedy=f"set the environment variable {folder}",
        ) from error
    return path


@dataclass(frozen=True)
class _Server:
    """What a server said of its file when the download began."""

    validator: str | None
    total: int | None


@dataclass(frozen=True)
class _Partial:
    """A download that is not finished: the bytes, and what its server said of the file."""

    path: Path
    note: Path

    @classmethod
    def of(cls, path: Path, url: str) -> _Partial:
        digest = hashlib.sha256(url.encode()).hexdigest()[:12]
        part = path.with_name(f".{path.name}.{digest}.partial")
        return cls(part, part.with_suffix(".json"))

    def start(self, server: _Server) -> None:
        self.path.write_bytes(b"")
        save_json(self.note, asdict(server))

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() and self.note.exists() else 0

    def server(self) -> _Server:
        return _Server(**load_json(self.note))

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _fetch(url: str, partial: _Partial, progress: DownloadProgress) -> None:
    """Attempts until the file is whole, or several in a row have brought nothing."""
    if not url.startswith(("http://", "https://")):
        raise _RefusedError("not an http or https URL")
    most, failed = partial.size(), 0
    while True:
        try:
            return _attempt(url, partial, progress)
        except _CutError as error:
            logger.info("%s: %s, after %d bytes", url, error, partial.size())
            # A server without ranges starts afresh: only more than ever before is progress.
            failed = 0 if partial.size() > most else failed + 1
            most = max(most, partial.size())
            if failed == _ATTEMPTS:
                raise _RefusedError(str(error)) from error
            time.sleep(_PAUSE * 2 ** min(failed, 4))


def _attempt(url: str, partial: _Partial, progress: DownloadProgress) -> None:
    """One request, for what is missing; _CutError where something still is."""
    have = partial.size()
    if have and have == partial.server().total:
        return
    headers = {"User-Agent": "scoreregs", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := partial.server().validator:
            headers["If-Range"] = validator
    try:
        response = urllib.request.urlopen(  # noqa: S310 - the scheme has been checked
            urllib.request.Request(url, headers=headers),  # noqa: S310
            timeout=_TIMEOUT,
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            partial.delete()
        kind = _CutError if error.code in _TEMPORARY else _RefusedError
        raise kind(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(f"no connection ({error})") from error
    with response:
        if response.headers.get_content_type() == "text/html":
            raise _RefusedError("the server answers with a page of HTML")
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
            partial.start(_Server(_validator(response.headers), total))
        elif not _continues(response.headers, partial.server(), have):
            partial.delete()
            raise _CutError("the server answers with another part, or of another file")
        _receive(response, partial, progress)


def _validator(headers: Mapping[str, str]) -> str | None:
    """What `If-Range` takes: a strong entity tag, or a date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _continues(headers: Mapping[str, str], server: _Server, have: int) -> bool:
    """Whether a partial answer begins where we stopped, in the file that we began with."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if found is None or int(found[1]) != have:
        return False
    known = server.total is not None and found[2] != "*"
    tagged = (server.validator or "").startswith('"') and "ETag" in headers
    return (not known or int(found[2]) == server.total) and (
        not tagged or headers["ETag"] == server.validator
    )


def _receive(
    response: http.client.HTTPResponse, partial: _Partial, progress: DownloadProgress
) -> None:
    """Appends what the server sends; _CutError where it is not all that it promised."""
    total, received = partial.server().total, partial.size()
    with partial.path.open("ab") as file:
        progress(received, total)
        while True:
            try:
                chunk = response.read1(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _CutError(f"the connection was cut ({error})") from error
            if not chunk:
                break
            file.write(chunk)
            received += len(chunk)
            progress(received, total)
    if total is not None and received != total:
        if received > total:
            partial.delete()
        raise _CutError(f"got {received} of {total} bytes")
