r"""Reads docstrings as they are written: Google style, with Markdown in the prose.

Docstrings have $...$ and $$...$$ mathematics, tables of pipes, `code`, and asterisks and bars that
mean themselves, as in (batch, *event) and |Q|. Before napoleon reads the sections, this turns them
into reStructuredText and leaves doctests alone.
"""

import re

from sphinx.application import Sphinx

_DISPLAY = re.compile(r"^( *)\$\$(.+?)\$\$([.,]?)", flags=re.DOTALL | re.MULTILINE)
# Displays cannot be told from prose once they are directives, so they wait under a mark.
_MARK = "\x00{}\x00"
_SPAN = re.compile(r"`[^`]+`|\$[^$]+\$", flags=re.DOTALL)
_DOCTEST = re.compile(r"^ *>>>.*?(?=^\s*$|\Z)", flags=re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"(?:^ *\|.*\|\n?)+", flags=re.MULTILINE)


def to_restructured_text(docstring: str) -> str:
    r"""Returns a docstring's Markdown as reStructuredText.

    Example:
        >>> to_restructured_text(r"Draws $t$, (batch, *event); see `at`.")
        'Draws :math:`t`, (batch, \\*event); see `at`.'
    """
    kept: list[str] = []

    def keep(text: str) -> str:
        kept.append(text)
        return _MARK.format(len(kept) - 1)

    text = _DOCTEST.sub(lambda found: keep(found[0]), docstring)
    text = _DISPLAY.sub(lambda found: found[1] + keep(_display(*found.groups())), text)
    text = _SPAN.sub(lambda found: keep(_span(found[0], _following(found))), text)
    text = _TABLE.sub(lambda found: _table(found[0]), text)
    text = re.sub(r"(?<!\\)([*|])(?=\S)", r"\\\1", text)
    text = re.sub(r"(?<=\w)_(?!\w)", r"\_", text)
    while "\x00" in text:
        text = re.sub("\x00(\\d+)\x00", lambda found: kept[int(found[1])], text)
    return text


def _display(indent: str, formula: str, end: str) -> str:
    lines = [line.strip() for line in (formula.strip() + end).splitlines()]
    return "\n".join([".. math::", "", *(f"{indent}   {line}" for line in lines), ""])


def _following(found: re.Match[str]) -> str:
    return found.string[found.end() : found.end() + 1]


def _span(text: str, following: str) -> str:
    joined = "\\ " if following.isalnum() else ""
    if text.startswith("`"):
        return text + joined
    return f":math:`{' '.join(text[1:-1].split())}`{joined}"


def _table(text: str) -> str:
    indent = " " * (len(text) - len(text.lstrip()))
    header, _rule, *rows = [line.strip().strip("|").split("|") for line in text.splitlines()]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for first, *others in [header, *rows]:
        lines += [f"   * - {first.strip()}", *(f"     - {cell.strip()}" for cell in others)]
    return "".join(f"{indent}{line}\n" for line in lines)


def _on_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    lines[:] = to_restructured_text("\n".join(lines)).split("\n")
    if what == "attribute":
        # Napoleon takes what is before a colon in the first line for a type: an empty comment.
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Goes before napoleon, which listens with the default priority of 500."""
    app.connect("autodoc-process-docstring", _on_docstring, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
