"""Files that are either complete or absent, and read only as what they are expected to be."""

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from scoreregs_offline_rl.errors import RunError

__all__ = [
    "first_line",
    "load_json",
    "load_tensors",
    "load_tensors_like",
    "replacing",
    "save_json",
    "save_tensors",
    "sha256_of",
    "tensor_shapes",
    "writing",
]

# The largest record that we write, a long sweep's results, has a hundredth of this.
_LARGEST_JSON = 64 * 2**20
# No array has more sides or a longer one, also an empty one.
_MOST_SIDES, _LONGEST = 64, 2**40
_DISK = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")
    if hasattr(errno, name)
}
# How Rust writes an error of the operating system.
_RUST = re.compile(r"\(os error (\d+)\)")
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Returns a path beside `path` to write to; it takes its place when the block succeeds.

    It ends as `path` does, for writers that go by the suffix.

    Raises:
        RunError: `path` is a folder.
    """
    if path.is_dir():
        raise RunError(f"got the folder {path}, expected a file to write: name one in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what a writer raises on a full or write-protected disk into a `RunError` of one line.

    Args:
        path: what is written, a file or a folder.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if (reason := _obstacle(error)) is None:
            raise
        raise RunError(
            f"cannot write {path}: {reason}; what was written before is whole: make room, or mend "
            "the rights, and the same command goes on"
        ) from error


def save_json(path: Path, content: Any) -> None:
    """Writes JSON; NaN and infinity, which JSON does not know, raise a ValueError.

    Raises:
        RunError: where nothing can be written.
    """
    with writing(path), replacing(path) as partial:
        text = json.dumps(content, indent=2, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def load_json(path: Path) -> dict[str, Any]:
    """Returns the record in a JSON file.

    Raises:
        RunError: where the file is missing, is larger than any of ours, is no JSON or holds
            something else than names with values.
    """
    with _reading(path):
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError(f"it is larger than {_LARGEST_JSON} bytes")
        return _record(path.read_bytes())


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors as safetensors.

    Raises:
        RunError: where one holds NaN or infinity, or nothing can be written; the file of before
            stays as it is.
    """
    _check_finite(path, tensors)
    with writing(path), replacing(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file, on the CPU.

    Raises:
        RunError: where the file is missing, is not safetensors, or holds NaN or infinity.
    """
    with _reading(path):
        tensors = load_file(path)
    _check_finite(path, tensors)
    return tensors


def load_tensors_like(path: Path, like: Mapping[str, Tensor], *, remedy: str) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file, on the CPU, of known names, sizes and types.

    They are compared with the file's header before anything is allocated.

    Args:
        path: the file.
        like: tensors of the names, shapes and dtypes to expect; those of the meta device will do.
        remedy: what the user can do where the file holds others.

    Raises:
        RunError: as for `load_tensors`, and where a tensor is missing, is one too many, or has
            another shape or dtype.
    """
    found = tensor_shapes(path)
    expected = {name: _described(_DTYPES[t.dtype], tuple(t.shape)) for name, t in like.items()}
    for name in sorted(expected.keys() | found.keys()):
        ours, theirs = expected.get(name, "nothing"), found.get(name)
        its = "nothing" if theirs is None else _described(*theirs)
        if its != ours:
            raise RunError(
                f"got weights of another size in {path} ({name}: {its}), expected {ours}: {remedy}"
            )
    return load_tensors(path)


def tensor_shapes(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Returns each tensor's type, as safetensors names it, and shape out of a file's header.

    Only the header is read. Shapes are whole numbers whose product the file has room for.

    Raises:
        RunError: where the file is missing, has no such header, or is smaller than it says.
    """
    with _reading(path), path.open("rb") as file:
        size, whole = int.from_bytes(file.read(8), "little"), path.stat().st_size
        if size > min(whole, _LARGEST_JSON):
            raise ValueError(f"its header of {size} bytes is longer than the file")
        tensors = _record(file.read(size))
        tensors.pop("__metadata__", None)
        return {name: _told(name, told, whole - 8 - size) for name, told in tensors.items()}


def _told(name: str, told: Any, room: int) -> tuple[str, tuple[int, ...]]:
    """Returns what a header tells of a tensor, if it fits into the bytes that there are."""
    if not isinstance(told, dict) or not {"dtype", "shape"} <= set(told):
        raise ValueError(f"its header has {name:.80} without type and shape")
    dtype, shape = told["dtype"], told["shape"]
    # One side that is none stands for what is no list.
    sizes: list[Any] = shape if isinstance(shape, list) else [None]
    if not isinstance(dtype, str) or any(type(size) is not int or size < 0 for size in sizes):
        raise ValueError(f"its header has {name:.80} of type {dtype!r:.80} and shape {shape!r:.80}")
    # The least that an element takes is a bit.
    small = len(sizes) <= _MOST_SIDES and max(sizes, default=0) <= _LONGEST
    if not small or math.prod(sizes) > 8 * room:
        raise ValueError(f"its header has {name:.80} of shape {shape!r:.80}, larger than the file")
    return dtype, tuple(sizes)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 digest of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def first_line(error: BaseException) -> str:
    """Returns what an error says in its first line, or else what it is."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong within the block into a `RunError` of one line."""
    try:
        # Reading a pipe or a device may never end.
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")
        yield
    # A RuntimeError comes of a file that cannot be mapped, and of lists nested without end.
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise RunError(f"cannot read {path}: {first_line(error)}") from error


def _obstacle(error: Exception) -> str | None:
    """Returns why a disk takes nothing; None for an error that is no disk's."""
    if isinstance(error, OSError):
        return error.strerror if error.errno in _DISK else None
    # Rust's and PyTorch's writers have a text alone, the latter one that says little.
    if (told := _RUST.search(str(error))) and int(told[1]) in _DISK:
        return os.strerror(int(told[1]))
    if any(text in str(error) for text in ("inline_container", "iostream error")):
        return f"{os.strerror(errno.ENOSPC)}, or it is broken"
    return None


def _record(text: bytes) -> dict[str, Any]:
    content = json.loads(text, parse_constant=_refuse)
    if not isinstance(content, dict):
        raise ValueError(f"got a JSON {type(content).__name__}, expected names with values")
    return content


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise RunError(
                f"got values of {name} that are not finite for {path}, expected finite ones: "
                "train it again, with a lower learning rate where training made them"
            )


def _described(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype} {list(shape)}"


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}, which JSON does not know")
