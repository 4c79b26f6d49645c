"""The README's snippets run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from scoreregs_offline_rl.commands.cli import main
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup

README = Path(__file__).parents[1] / "README.md"
SHRUNK = [
    "--critic.steps=5",
    "--behavior.steps=5",
    "--behavior.batch-size=32",
    "--policy.steps=5",
    "--evaluation.episodes=2",
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCOREREGS_CACHE", str(tmp_path / "cache"))


def test_python_snippets() -> None:
    namespace: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, str(README), "exec"), namespace)


def test_commands_on_a_file(tmp_path: Path) -> None:
    arrays = record_pendulum_swingup(episodes=3)
    save_hdf5(tmp_path / "hopper-medium-expert.hdf5", arrays, "Pendulum-v1")
    lines = "\n".join(blocks("bash")).splitlines()
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("scoreregs-offline-rl")]
    assert [command[0] for command in commands] == ["train", "evaluate"]
    train, evaluate = commands
    assert main([*train, *SHRUNK]) == 0
    assert main([*evaluate[:-1], "2"]) == 0
    assert (tmp_path / "runs/hopper/result.json").exists()
    assert np.isfinite(arrays["rewards"]).all()


def test_make_targets_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    targets = re.findall(r"^make ([a-z-]+)", "\n".join(blocks("bash")), flags=re.MULTILINE)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/reproducibility.md"])
def test_links_lead_somewhere(page: str) -> None:
    path = README.parent / page
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    named = re.findall(r"`((?:scoreregs|integrations|tests)/[\w/.]+)`", path.read_text())
    missing = [link for link in links if not (path.parent / link).exists()]
    missing += [name for name in named if not (README.parent / name).exists()]
    assert not missing
