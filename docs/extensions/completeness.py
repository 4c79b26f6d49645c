"""Every public name has a docstring and a place in the API reference, or the build fails."""

import importlib
import inspect
from collections.abc import Iterable, Iterator
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)

PUBLIC_MODULES = (
    "scoreregs",
    "scoreregs.baselines",
    "scoreregs.betas",
    "scoreregs.distillation",
    "scoreregs.draws",
    "scoreregs.errors",
    "scoreregs.inverse",
    "scoreregs.kernel",
    "scoreregs.noisers",
    "scoreregs.options",
    "scoreregs.predictions",
    "scoreregs.probability_flow",
    "scoreregs.recipes",
    "scoreregs.schedules",
    "scoreregs.testing",
    "scoreregs.times",
    "scoreregs.weightings",
    "scoreregs_diffusers",
    "scoreregs_offline_rl",
)


def public_names(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Yields the names of a module's `__all__` with their objects."""
    for name in module.__all__:
        yield f"{module.__name__}.{name}", getattr(module, name)


def without_docstring(name: str, found: object) -> Iterator[str]:
    """Yields what lacks a docstring: a class or function, and each public member of a class.

    A method that overrides a documented one needs none. Other objects, as aliases of types, have
    no docstring to begin with; the reference describes them.
    """
    if inspect.isclass(found):
        generated = f"{found.__name__}("  # what a dataclass has where nothing was written
        if not found.__doc__ or found.__doc__.startswith(generated):
            yield name
        for member, value in vars(found).items():
            described = isinstance(value, property | classmethod | staticmethod)
            if member.startswith("_") or not (described or inspect.isfunction(value)):
                continue
            # Of those that have it alone: from Python 3.13 on None has a docstring, too.
            written = [vars(base)[member] for base in found.__mro__ if member in vars(base)]
            if not any(each.__doc__ for each in written):
                yield f"{name}.{member}"
    elif inspect.isroutine(found) and not inspect.getdoc(found):
        yield name


def missing(documented: set[str], modules: Iterable[str] = PUBLIC_MODULES) -> Iterator[str]:
    """Yields what is wrong with the modules' public names, given those in the API reference.

    A name that is public in two modules is documented in one of them.
    """
    public = [
        entry for module in modules for entry in public_names(importlib.import_module(module))
    ]
    placed = [found for name, found in public if name in documented]
    for name, found in public:
        for undocumented in without_docstring(name, found):
            yield f"{undocumented} has no docstring"
        if not any(found is other for other in placed):
            yield f"{name} is not in the API reference: add it to a page of docs/api"


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    documented = set(env.domains.python_domain.objects)
    for complaint in dict.fromkeys(missing(documented)):
        logger.warning(complaint)


def setup(app: Sphinx) -> dict[str, bool]:
    """Checks when all pages have been read."""
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
