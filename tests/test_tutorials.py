"""The pages run, block by block, as a reader would type them."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from scoreregs.testing import PriorContract, ScheduleContract
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from tests.pages import REPOSITORY, Block, blocks, check_output, run_python

DOCS = REPOSITORY / "docs"
# Their blocks are Python alone; a command that is only shown is `console`.
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if "_build" not in page.parts and page not in TUTORIALS and blocks(page, "python")
)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """An empty folder where bash finds this interpreter's commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def run_command(block: Block) -> None:
    """A block of bash prints what follows it; where that is an error, it ends with exit code 2."""
    ended = subprocess.run(["bash", "-ec", block.code], capture_output=True, text=True, timeout=300)
    fails = (block.output or "").startswith("error: ")
    assert ended.returncode == (2 if fails else 0), ended.stderr[-2000:]
    check_output(block, ended.stderr if fails else ended.stdout)


def interrupt(block: Block, started: Path) -> None:
    """Run a block of bash, and send it SIGINT, as Ctrl-C does, when a file is there."""
    with subprocess.Popen(
        ["bash", "-ec", f"exec {block.code}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # A shell that starts the tests in the background has SIGINT ignored, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as child:
        while not started.exists() and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate()
    assert child.returncode == 128 + signal.SIGINT
    assert b"the same command goes on from there" in errors


# Pages about a package that is no dependency: they run where it is installed and imports.
PACKAGES = {
    "azula": "azula.denoise",
    "denoising-diffusion-pytorch": "denoising_diffusion_pytorch",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page, tmp_path, monkeypatch):
    if page.stem in PACKAGES:
        try:
            importlib.import_module(PACKAGES[page.stem])
        except (ImportError, RuntimeError) as error:  # torchvision may not fit torch
            pytest.skip(f"needs {page.stem}, an optional environment: {error}")
    monkeypatch.chdir(tmp_path)
    namespace = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in blocks(page, "python"):
            run_python(block, page, namespace)
    run_contracts(namespace)


def run_contracts(namespace):
    """The tests that a page defines, which its reader would leave to pytest."""
    for found in namespace.values():
        if isinstance(found, type) and found.__name__.startswith("Test"):
            assert issubclass(found, PriorContract | ScheduleContract)
            suite = found()
            for name in dir(suite):
                if name.startswith("test_"):
                    getattr(suite, name)()


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_every_block_is_run_or_shown_only(page):
    known = {"python", "text", "console", "yaml", *(["bash"] if page in TUTORIALS else [])}
    assert set(re.findall(r"^```(\w+)$", page.read_text(), flags=re.MULTILINE)) <= known


def test_some_pages_have_code():
    assert {"quick-start", "own-prior", "beta", "variance", "recipes", "extending"} <= {
        page.stem for page in PAGES
    }


@pytest.mark.slow
def test_own_robot_log(shell):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    page = REPOSITORY / "docs/tutorials/own-robot-log.md"
    namespace = {}
    for block in blocks(page, "bash", "python"):
        if block.language == "python":
            run_python(block, page, namespace)
            continue
        if " train " in block.code:
            interrupt(block, Path("runs/slider/critic/metrics.jsonl"))
            assert not Path("runs/slider/result.json").exists()
        run_command(block)
    assert Path("slider.inspection.png").stat().st_size > 10_000
    result = json.loads(Path("runs/slider/result.json").read_text())
    assert result["policy"] is None
    assert result["command"].startswith(
        "scoreregs-offline-rl train --preset paper --data slider.npz"
    )
    assert [finding["ok"] for finding in result["health"].values()] == [True] * 3
    policy = TrainedPolicy.load(Path("runs/slider/agent"))
    assert mean_return(policy, namespace["move"]) > result["data_return"] + 5


def mean_return(policy, move):
    """What the page has no simulator for: that its policy drives the slider well."""
    position, speed = np.random.default_rng(1).uniform(-0.8, 0.8, (2, 100))
    returns, running = np.zeros(100), np.ones(100, bool)
    for _ in range(50):
        command = policy(np.stack([position, speed], axis=1))[:, 0]
        position, speed = move(position, speed, command)
        returns += running * (1 - abs(position))
        running &= abs(position) <= 1
    return returns.mean()


def test_every_tutorial_has_a_test():
    assert [page.name for page in TUTORIALS] == ["own-robot-log.md"]
