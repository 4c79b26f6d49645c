"""The flagship's tree: imports run one way, files are neither scraps nor heaps."""

import ast
import re
from pathlib import Path

import pytest

import scoreregs_offline_rl
from scoreregs_offline_rl import TrainConfig

ROOT = Path(scoreregs_offline_rl.__file__).parent
# From what knows nothing of the others to what knows all; a file of the root counts by its name.
LAYERS = (
    ("errors", "configuration"),
    ("files", "figures", "randoms"),
    ("tasks",),
    ("environments",),
    ("data",),
    ("inspection",),
    ("stages",),
    ("training",),
    ("evaluation",),
    ("deployment",),
    ("runs",),
    ("commands",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in LEVEL)


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in the file, without its name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            base = node.module
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    prefix = "scoreregs_offline_rl."
    return {name.removeprefix(prefix) for name in found if name.startswith(prefix)}


def layer(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_runs_up_the_tree(path):
    own = LEVEL[layer(path)]
    above = {name for name in imported(path) if LEVEL.get(name.split(".")[0], -1) > own}
    assert not above


def test_every_folder_has_a_layer():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert folders <= set(LEVEL)


def test_no_files_import_each_other_in_a_circle():
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in FILES}
    graph = {name: imported(path) & set(modules) for name, path in modules.items()}

    def reachable(start):
        seen, waiting = set(), list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        return seen

    assert [name for name in graph if name in reachable(name)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_a_heap_or_only_forwards(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    if path.name == "__init__.py":
        return
    body = ast.parse(text).body
    defined = [n for n in body if not isinstance(n, ast.Import | ast.ImportFrom | ast.Expr)]
    names = {
        t.id
        for n in defined
        if isinstance(n, ast.Assign)
        for t in n.targets
        if isinstance(t, ast.Name)
    }
    assert len(defined) > (1 if "__all__" in names else 0), "it only forwards"


def test_no_stage_is_a_string_outside_its_file():
    """Names that are common words, as policy, would be found in any text: whole literals count."""
    names = set(TrainConfig.stages()) | {"baseline"}
    found = []
    for path in FILES:
        # A preset is settings, of which a stage's name may be the value.
        if path.parent.name == "stages" or path.name == "presets.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in names:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}")
    assert found == []


def test_a_policy_loss_is_one_file_and_one_row():
    """What cloning, the smallest, touches of the package: its file, and the registry."""
    pattern = re.compile(r"\b[Cc]loning(Stage|Config)\b")
    touched = {
        str(p.relative_to(ROOT)) for p in ROOT.rglob("*.py") if pattern.search(p.read_text())
    }
    # The policy may start from a clone, a preset says so, and a verdict compares the two.
    uses = {"stages/policy.py", "runs/presets.py", "runs/verdict.py"}
    assert touched - uses == {"stages/cloning.py", "stages/registry.py", "__init__.py"}
