"""The README's snippets run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from tests.pages import REPOSITORY, blocks

README = REPOSITORY / "README.md"
SHRUNK = [
    "--critic.steps=5",
    "--behavior.steps=5",
    "--behavior.batch-size=32",
    "--cloning.steps=5",
    "--awr.steps=5",
    "--policy.steps=5",
    *(f"--{name}.width=16" for name in ("critic", "behavior", "cloning", "awr", "policy")),
    "--evaluation.episodes=2",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCOREREGS_CACHE", str(tmp_path / "cache"))


def bash() -> str:
    return "\n".join(block.code for block in blocks(README, "bash"))


def test_python_snippets() -> None:
    namespace: dict[str, object] = {}
    for block in blocks(README, "python"):
        exec(compile(block.code, str(README), "exec"), namespace)


def test_commands_on_a_file(tmp_path: Path) -> None:
    arrays = record_pendulum_swingup(episodes=3)
    save_hdf5(tmp_path / "hopper-medium-expert.hdf5", arrays, "Pendulum-v1")
    lines = bash().splitlines()
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("scoreregs-offline-rl")]
    assert [command[0] for command in commands] == ["train", "evaluate", "sweep"]
    train, evaluate, sweep = commands
    assert main([*train, *SHRUNK]) == 0
    assert main([*evaluate[:-1], "2"]) == 0
    assert (tmp_path / "runs/hopper/result.json").exists()
    assert main([*sweep, *SHRUNK]) == 0
    assert (tmp_path / "runs/sweep/sweep.png").exists()
    assert np.isfinite(arrays["rewards"]).all()


def test_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.findall(r"^make ([a-z-]+)", bash(), flags=re.MULTILINE)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


PAGES = [README, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    named = re.findall(r"`((?:scoreregs|integrations|tests)/[\w/.]+)`", path.read_text())
    missing = [link for link in links if not (path.parent / link).exists()]
    missing += [name for name in named if not (REPOSITORY / name).exists()]
    assert not missing
