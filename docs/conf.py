"""Sphinx configuration; `make docs` builds the pages, and a warning is an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "scoreregs"
author = project_copyright = "The scoreregs developers"
version = release = "0.1.0"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "completeness",
    "docstrings",
    "included_links",
    "mathml",
    "references",
    "type_aliases",
]
exclude_patterns = ["_build"]
nitpicky = True
smartquotes_action = "D"  # dashes only: a value in quotes is a value
nitpick_ignore = [
    ("py:class", f"scoreregs_offline_rl.{variable}")
    for variable in ("deployment.agent.Array", "stages.actor.C", "stages.stage.C")
]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "py:obj"

bibtex_bibfiles = ["references.bib"]

html_theme = "furo"
html_title = f"scoreregs {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
