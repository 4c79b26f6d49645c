"""The command's own help, read out of the sources: importing them would take PyTorch's seconds."""

import ast
import textwrap
from pathlib import Path

__all__ = ["SWEEP", "TRAIN", "commands", "overview"]

_ROOT = Path(__file__).parents[1]
TRAIN = "Train a policy on a data set, beside what it is compared with, and evaluate them."
SWEEP = "Train policies of several seeds at several temperatures as one job, and compare them."
_USAGE = """\
usage: scoreregs-offline-rl [-h] [--version] COMMAND ...

Offline reinforcement learning with score-regularized policies (SRPO).

Look at data with `inspect`, train with `train`, see `diagnose` for how it went without a simulator
and `evaluate` with one. Every command explains itself with --help. A mistake is answered with one
line; --traceback, or SCOREREGS_TRACEBACK=1, shows where it was noticed.

commands:
"""


def overview() -> str:
    """Returns the help of the command without one of its commands.

    Example:
        >>> "  train      Train a policy on a data set" in overview()
        True
    """
    lines = []
    for name, sentence in commands().items():
        wrapped = textwrap.wrap(sentence, 80, subsequent_indent=" " * 13)
        lines.append(f"  {name:<10} " + "\n".join(wrapped))
    return _USAGE + "\n".join(lines)


def commands() -> dict[str, str]:
    """Returns what each command does, in one sentence."""
    tools = {
        node.name: " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
        for node in _tree("commands/tools.py").body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    first = next(iter(tools))
    inspecting, others = {first: tools.pop(first)}, tools
    return {**inspecting, "train": TRAIN, **_stages(), "sweep": SWEEP, **others}


def _stages() -> dict[str, str]:
    """Returns what each stage says of itself, in the order of the registry's rows."""
    registry = _tree("stages/registry.py")
    homes = {
        alias.name: f"{node.module}".partition(".")[2].replace(".", "/") + ".py"
        for node in registry.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    rows = next(
        node
        for node in registry.body
        if isinstance(node, ast.ClassDef) and node.name == "StageRows"
    )
    found = {}
    for row in rows.body:
        if isinstance(row, ast.AnnAssign) and isinstance(row.value, ast.Call):
            stage = ast.unparse(row.value.args[0])
            found[ast.unparse(row.target)] = _text_of(_tree(homes[stage]), stage, "help")
    return found


def _text_of(module: ast.Module, name: str, attribute: str) -> str:
    """Returns a text that a class of a module holds."""
    own = next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == name)
    values = (n.value for n in own.body if isinstance(n, ast.Assign) and _is(n, attribute))
    return str(ast.literal_eval(next(values)))


def _is(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _tree(path: str) -> ast.Module:
    return ast.parse((_ROOT / path).read_text(encoding="utf-8"))
