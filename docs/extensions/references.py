"""Names in docstrings and signatures that are written without their module."""

import re

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

# A word that is also a name, as "sample", is not taken for one.
_NAME = re.compile(r"[A-Z]|_|\.")
_OURS = ("scoreregs.", "scoreregs_diffusers.", "scoreregs_offline_rl.")


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> nodes.Element | None:
    """Returns a link to the one documented name that ends so, or plain code for a `word`."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    objects = env.domains.python_domain.objects
    if _NAME.search(target):
        last = f".{target.rpartition('.')[2]}" if target.startswith(_OURS) else f".{target}"
        found = {
            entry.node_id: (name, entry)
            for name, entry in objects.items()
            if name.endswith(last) and not entry.aliased
        }
        if len(found) == 1:
            name, entry = next(iter(found.values()))
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name
            )
    return contnode if node["reftype"] == "obj" or not target.startswith(_OURS) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Listens to references that Sphinx cannot resolve."""
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
