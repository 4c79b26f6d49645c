"""The tutorials run, block by block, as a reader would type them."""

import doctest
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from tests.pages import REPOSITORY, Block, blocks

TUTORIALS = sorted((REPOSITORY / "docs/tutorials").glob("*.md"))


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
    printed = ended.stderr if fails else ended.stdout
    if block.output:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(block.output, printed, flags), printed


def interrupt(block: Block, started: Path) -> None:
    """Run a block of bash, and send it SIGINT, as Ctrl-C does, when a file is there."""
    with subprocess.Popen(
        ["bash", "-ec", f"exec {block.code}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        while not started.exists() and child.poll() is None:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate()
    assert child.returncode == 128 + signal.SIGINT
    assert b"the same command goes on from there" in errors


@pytest.mark.slow
def test_own_robot_log(shell):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    page = REPOSITORY / "docs/tutorials/own-robot-log.md"
    namespace = {}
    for block in blocks(page, "bash", "python"):
        if block.language == "python":
            exec(compile(block.code, str(page), "exec"), namespace)
            continue
        if " train " in block.code:
            interrupt(block, Path("runs/slider/behavior/metrics.jsonl"))
            assert not Path("runs/slider/result.json").exists()
        run_command(block)
    assert Path("slider.inspection.png").stat().st_size > 10_000
    result = json.loads(Path("runs/slider/result.json").read_text())
    assert result["policy"] is None
    assert result["command"].startswith("scoreregs-offline-rl train --data slider.npz --run-dir")
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
