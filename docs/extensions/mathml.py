"""Mathematics as MathML, which browsers draw without a script and without the network.

A formula that the converter cannot read is a warning here, and so fails the build.
"""

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
_CONVERTER = LatexToMathML(fancy_error=False)


def _converted(node: nodes.math | nodes.math_block, *, display: bool) -> str:
    formula = node.astext()
    try:
        return _CONVERTER.convert_with_local_state(formula, displaystyle=display)
    except LatexError as error:
        logger.warning("cannot read the formula %s: %s", formula, error, location=node)
        return ""


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(_converted(node, display=False))
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_converted(node, display=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the renderer that `html_math_renderer` names."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
