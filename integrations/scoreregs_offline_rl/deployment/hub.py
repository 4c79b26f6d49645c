"""The Hugging Face Hub, whose failures become one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import first_line

__all__ = ["download", "one_line_errors"]

# What the versions of the Hub's package speak HTTP with.
_CLIENTS = {"httpx": "HTTPError", "httpx2": "HTTPError", "requests": "RequestException"}


def download(repository: str, files: tuple[str, ...], **options: Any) -> Path:
    """Returns a folder with files of a repository, out of the cache where the Hub is out of reach.

    Args:
        repository: `user/name`.
        files: those to download.
        **options: of `huggingface_hub.snapshot_download`.

    Raises:
        RunError: where the name is none, or neither the Hub nor the cache has the repository.
    """
    remedy = f"{repository!r} is no folder here, and as a repository it cannot be had"
    with one_line_errors(remedy):
        # One request without repetitions, where a single file's download tries for half a minute.
        return Path(snapshot_download(repository, allow_patterns=list(files), **options))


@contextmanager
def one_line_errors(problem: str) -> Iterator[None]:
    """Turns what the Hub's package raises within the block into a `RunError`.

    Args:
        problem: what failed, to begin the line.

    Raises:
        RunError: with the problem and the first line of the reason.
    """
    clients = [(sys.modules.get(name), error) for name, error in _CLIENTS.items()]
    # The Hub's own errors for a missing entry and for being offline are among the OSErrors.
    spoken = [getattr(client, error) for client, error in clients if client is not None]
    errors = (HfHubHTTPError, HFValidationError, OSError, *spoken)
    try:
        yield
    except errors as error:
        raise RunError(
            f"{problem} ({first_line(error)}): see that the name is right and that the Hub can be "
            "reached and lets you in, or give a folder"
        ) from error
