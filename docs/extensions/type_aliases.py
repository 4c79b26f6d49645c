"""Signatures that name the library's type aliases instead of spelling them out."""

import importlib
import re

from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

_ALIASES = {
    "scoreregs.baselines": ["BaselineLike", "BaselineName"],
    "scoreregs.kernel": ["BetaPlacement", "Normalization"],
    "scoreregs.noisers": ["NoiserLike"],
    "scoreregs.options": ["Checking", "Reduction", "ValueFunction"],
    "scoreregs.predictions": ["PredictionLike", "PredictionName"],
    "scoreregs.times": ["Points", "PointsLike", "PointsName", "TimesLike", "TimesName"],
    "scoreregs.weightings": ["WeightingLike", "WeightingName"],
}
# A recursive alias, which Sphinx spells out to a depth that differs from place to place.
_NESTED = r"(?:~scoreregs\.trees\.)?Condition"
_CONDITION = re.compile(
    rf"(?:~torch\.)?Tensor \| dict\[str, {_NESTED}\] \| list\[{_NESTED}\] "
    rf"\| tuple\[{_NESTED}, \.\.\.\] \| None"
)


def _spelled_out() -> dict[str, str]:
    """Returns the aliases' names by how Sphinx writes their types, the longest first."""
    names = {}
    for module, aliases in _ALIASES.items():
        for alias in aliases:
            annotation = getattr(importlib.import_module(module), alias)
            names[stringify_annotation(annotation, "smart")] = f"~{module}.{alias}"
    return dict(sorted(names.items(), key=lambda item: -len(item[0])))


_NAMES = _spelled_out()


def _on_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    return shorten(signature), shorten(returned)


def shorten(signature: str | None) -> str | None:
    """Returns a signature in which type aliases have their names again."""
    if signature is None:
        return None
    while _CONDITION.search(signature):
        signature = _CONDITION.sub("~scoreregs.trees.Condition", signature)
    for spelled_out, name in _NAMES.items():
        signature = signature.replace(spelled_out, name)
    return signature


def setup(app: Sphinx) -> dict[str, bool]:
    """Listens to the signatures that autodoc has written."""
    app.connect("autodoc-process-signature", _on_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
