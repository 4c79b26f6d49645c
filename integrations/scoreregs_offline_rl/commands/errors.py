"""The boxes that tyro draws around a wrong argument, as one line."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence

from scoreregs.arguments import nearest
from scoreregs.errors import ArgumentError

__all__ = ["one_line_errors"]

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile(r"\s*[─-]{10,}\s*")
_CHOICE = re.compile(r"invalid choice '(.*?)' .*Expected one of \((.*)\)")
# What tyro calls the function that a command line fills in.
_INTERNAL = re.compile(r"Error parsing \S*__tyro\S*: |Error parsing (?=[\w.]+: got )")


@contextlib.contextmanager
def one_line_errors(program: str, arguments: Sequence[str]) -> Iterator[None]:
    """Turns tyro's exit after a wrong argument into an `ArgumentError` of one line.

    Args:
        program: name of the command line.
        arguments: what it was given, to name the help that tells more.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        command = arguments[0] if arguments and not arguments[0].startswith("-") else ""
        help_line = " ".join(filter(None, [program, command, "--help"]))
        message = condense(printed.getvalue())
        if choice := _CHOICE.search(message):
            message += nearest(choice[1], re.findall(r"'(.*?)'", choice[2]))
        raise ArgumentError(f"{message}: see {help_line}") from None


def condense(box: str) -> str:
    """Returns the message in a box: its first paragraph and the names that it suggests.

    Example:
        >>> print(condense('''
        ... ╭─ Required options ─────────╮
        ... │ Missing from x train:      │
        ... │     --run-dir PATH         │
        ... │         Where to keep it.  │
        ... │ ────────────────────────── │
        ... │ For full helptext, run:    │
        ... │     x train --help         │
        ... ╰────────────────────────────╯
        ... '''))
        Missing from x train: --run-dir PATH
    """
    plain = _STYLE.sub("", box)
    # Without UTF-8 there are no borders, and the title is a paragraph.
    title = 0 if "╭" in plain else 1
    paragraphs: list[list[str]] = [[]]
    for line in plain.splitlines():
        inside = line.replace("│", "")
        if line.strip().startswith(("╭", "╰")):
            continue
        if _RULE.fullmatch(inside):
            paragraphs.append([])
        # Further in stands what an option means.
        elif inside.strip() and len(inside) - len(inside.lstrip()) <= 6:
            paragraphs[-1].append(inside.strip())
    kept = [
        lines
        for index, lines in enumerate(paragraphs)
        if lines and (index == title or lines[0].startswith(("Perhaps", "Available")))
    ]
    message = ", ".join(" ".join(lines).rstrip(".") for lines in kept)
    # Several commands that have an option are no news to somebody who mistyped it.
    message = message.replace(" [...]", "")
    return _INTERNAL.sub("", message) or " ".join(plain.split())
