"""Links of a page that is included from elsewhere in the repository, seen from `docs/`."""

import re
from pathlib import Path

from sphinx.application import Sphinx

_LINK = re.compile(r"\]\((?!https?:|#)")


def relocated(page: str, folder: str) -> str:
    """Returns a page whose relative links start in another folder."""
    return _LINK.sub(f"]({folder}/", page)


def _relocate(app: Sphinx, path: Path, docname: str, content: list[str]) -> None:
    if path.suffix == ".md":
        content[0] = relocated(content[0], path.parent.as_posix())


def setup(app: Sphinx) -> dict[str, bool]:
    """Listens to what the include directive reads."""
    app.connect("include-read", _relocate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
