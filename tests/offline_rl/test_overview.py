"""What the command says without PyTorch, and where packages are missing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scoreregs
import scoreregs_offline_rl
from scoreregs_offline_rl import TrainConfig
from scoreregs_offline_rl.commands import tools
from scoreregs_offline_rl.commands.entry import main
from scoreregs_offline_rl.commands.overview import SWEEP, commands
from scoreregs_offline_rl.commands.sweep import sweep_command

SLOW = ("torch", "numpy", "tyro", "accelerate")


def python(code):
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    return child.returncode, child.stdout.splitlines(), child.stderr


def test_the_overview_is_what_the_commands_say():
    stages = {name: stage.help for name, stage in TrainConfig.stages().items()}
    found = commands()
    assert [name for name in found if name in stages] == list(stages)
    assert {name: found[name] for name in stages} == stages
    assert set(tools.__all__) == set(found) - set(stages) - {"train", "sweep"}
    for name in tools.__all__:
        assert (getattr(tools, name).__doc__ or "").startswith(
            found[name].split(":")[0].split(",")[0]
        )
    assert (sweep_command([]).__doc__ or "").startswith(SWEEP)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"]])
def test_help_and_version_import_nothing_slow(words):
    code = f"""
import sys
from scoreregs_offline_rl.commands.entry import main
status = main({words!r})
print([name for name in {SLOW!r} if name in sys.modules], status)
"""
    status, lines, errors = python(code)
    assert (status, errors, lines[-1]) == (0, "", "[] 0")
    said = "\n".join(lines)
    assert scoreregs.__version__ in said if words == ["--version"] else "inspect" in said


@pytest.mark.parametrize("package", ["accelerate", "tyro", "h5py", "tqdm"])
def test_a_core_only_installation_is_told_what_to_install(package, monkeypatch, capsys):
    for name in [n for n in sys.modules if n.startswith("scoreregs_offline_rl.commands.main")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("builtins.__import__", without(package))
    assert main(["train", "--data", "x"]) == 2
    assert capsys.readouterr().err == (
        f"error: got no package {package!r}, which the command needs: install it with "
        "pip install 'scoreregs[offline-rl]'\n"
    )


def without(package):
    whole = __import__

    def import_(name, *arguments, **options):
        if name == "scoreregs_offline_rl.commands.main":
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return whole(name, *arguments, **options)

    return import_


def test_the_core_says_nothing_of_numpy():
    code = "import sys; sys.modules['numpy'] = None; import scoreregs; print(scoreregs.__version__)"
    assert python(code) == (0, [scoreregs.__version__], "")


def test_public_names_are_imported_when_they_are_asked_for():
    source = Path(scoreregs_offline_rl.__file__).read_text()
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    named = {
        alias.name for node in found if "scoreregs" in str(node.module) for alias in node.names
    }
    assert named == set(scoreregs_offline_rl.__all__)
    for name in scoreregs_offline_rl.__all__:
        assert getattr(scoreregs_offline_rl, name) is not None
    assert set(scoreregs_offline_rl.__all__) <= set(dir(scoreregs_offline_rl))
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = scoreregs_offline_rl.trian
