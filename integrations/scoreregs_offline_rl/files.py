"""Files that are either complete or absent: written beside their place and renamed into it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from scoreregs_offline_rl.errors import RunError

__all__ = ["load_json", "load_tensors", "replacing", "save_json", "save_tensors"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block succeeds.

    It ends as `path` does, for writers that go by the suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def save_json(path: Path, content: Any) -> None:
    """Write JSON; NaN and infinity, which JSON does not know, raise a ValueError."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def load_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        RunError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from error


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors."""
    with replacing(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file onto the CPU.

    Raises:
        RunError: The file is missing or is not safetensors.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
