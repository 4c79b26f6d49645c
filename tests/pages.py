"""The code blocks of pages of documentation."""

import re
from dataclasses import dataclass
from pathlib import Path

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
    following = [*found[1:], ("", "")]
    return [
        Block(language, code, output if after == "text" else None)
        for (language, code), (after, output) in zip(found, following, strict=True)
        if language in languages
    ]
