"""The code blocks of pages of documentation."""

import contextlib
import doctest
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is written in, its text, and the text block that follows, if any."""

    language: str
    code: str
    output: str | None


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in some languages, in their order."""
    found = _BLOCK.findall(page.read_text())
    following = [*found, ("", "")][1:]
    return [
        Block(language, code, output if after == "text" else None)
        for (language, code), (after, output) in zip(found, following, strict=True)
        if language in languages
    ]


def check_output(block: Block, printed: str) -> None:
    """What a block printed is the text that follows it, as a doctest compares them."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if block.output is not None:
        assert doctest.OutputChecker().check_output(block.output, printed, flags), printed


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    """A block of Python runs in a namespace and prints what follows it."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block.code, str(page), "exec"), namespace)
    check_output(block, printed.getvalue())
