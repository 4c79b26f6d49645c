"""The peers' rows: skipped without a checkout, of our sizes with one; stand-ins leave no trace."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import peers
from benchmarks.speed.limits import flops_of
from benchmarks.speed.plain import PLAIN
from benchmarks.speed.workload import random_rows

ROOT = Path(__file__).resolve().parents[2]
PEERS = {
    "critic": (peers.critic_step_of_corl, "SCOREREGS_CORL", "tinkoff-ai/CORL"),
    "behavior": (
        peers.behavior_step_of_cleandiffuser,
        "SCOREREGS_CLEANDIFFUSER",
        "CleanDiffuserTeam/CleanDiffuser",
    ),
}


def test_rows_without_a_checkout_say_what_they_need():
    environment = {k: v for k, v in os.environ.items() if k not in [p[1] for p in PEERS.values()]}
    options = ["-k", "corl or cleandiffuser", "-p", "no:cacheprovider", "-rs", "-q"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks/speed/test_stages.py", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{len(PEERS)} skipped" in found.stdout
    for _, variable, repository in PEERS.values():
        assert f"{variable} names no checkout of github.com/{repository}" in found.stdout


class TestStandIns:
    def test_a_module_imports_what_is_not_installed(self, tmp_path, monkeypatch):
        (tmp_path / "needs_much.py").write_text(
            "import absent\nimport absent.deep as deep\nbase = absent.Env, deep.of(1)\n"
            "@absent.wrap()\ndef train(): ...\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        with peers.stand_ins(("absent", "absent.deep")):
            assert importlib.import_module("needs_much").base
        assert not [name for name in sys.modules if name.startswith("absent")]
        with pytest.raises(ImportError):
            importlib.import_module("absent")

    def test_what_is_installed_is_put_back(self):
        with pytest.raises(ImportError), peers.stand_ins(("json", "absent")):
            importlib.import_module("json.nothing")
        assert sys.modules["json"] is json


@pytest.mark.parametrize("name", PEERS)
def test_a_peers_step_is_of_our_size(name):
    """At most the actor beyond ours, and the network's time embedding."""
    make, variable, _ = PEERS[name]
    if variable not in os.environ:
        pytest.skip(f"{variable} names no checkout")
    batch = random_rows(64).select(torch.arange(32))
    step, ours = make(Path(os.environ[variable]), batch), PLAIN[name]()
    first = step()
    ratio = flops_of(step) / flops_of(lambda: ours(batch))
    assert ratio == pytest.approx({"critic": 1.25, "behavior": 0.985}[name], abs=0.01)
    for _ in range(100):
        step()
    last = step()
    assert sum(v for v in last.values() if v) < sum(v for v in first.values() if v)
