"""Compiled networks: the same training, asked for or for many steps."""

import subprocess
import sys

import pytest
import torch

from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.stages.behavior import BehaviorStage
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.training import compilation
from scoreregs_offline_rl.training.compilation import COMPILE_FROM, compile_networks
from scoreregs_offline_rl.training.interruption import InterruptedRun
from tests.offline_rl.rl_data import ACTION, OBSERVATION, make_transitions
from tests.offline_rl.test_sweep import stop_at


def make_stage():
    return BehaviorStage(OBSERVATION, ACTION, BehaviorConfig(width=16))


def is_compiled(stage):
    return bool(stage._trained)


def without_a_compiler(monkeypatch):
    monkeypatch.setattr(compilation, "_obstacle", lambda device: "no compiler")


@pytest.mark.parametrize(
    ("wanted", "steps", "expected"),
    [(None, COMPILE_FROM - 1, False), (False, COMPILE_FROM, False), (None, COMPILE_FROM, True)],
)
def test_short_stages_do_not_pay_for_it(monkeypatch, wanted, steps, expected):
    monkeypatch.setattr(compilation, "_obstacle", lambda device: None)
    stage = make_stage()
    assert compile_networks(stage, wanted, steps, "cpu") is expected
    assert is_compiled(stage) is expected


def test_a_stage_with_nothing_to_compile_does_not_ask_for_a_compiler(monkeypatch):
    without_a_compiler(monkeypatch)
    assert not compile_networks(CriticStage(OBSERVATION, ACTION, CriticConfig()), True, 1, "cpu")


def test_importing_does_not_load_the_compiler():
    code = "import sys, scoreregs_offline_rl; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_a_compiler_it_is_refused_or_said(monkeypatch, caplog):
    without_a_compiler(monkeypatch)
    with pytest.raises(RunError, match="no compiler"):
        compile_networks(make_stage(), True, 1, "cpu")
    with caplog.at_level("INFO"):
        assert not compile_networks(make_stage(), None, COMPILE_FROM, "cpu")
    assert "not compiled" in caplog.text


def configuration(compiled):
    return TrainConfig(
        data="made",
        beta=0.1,
        critic=CriticConfig(steps=3, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=12, batch_size=32, width=16, blocks=1),
        policy=PolicyConfig(steps=12, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=5, checkpoint_every=5, cpu=True, compile=compiled),
    )


def test_a_compiled_run_trains_the_same_and_resumes_bit_for_bit(tmp_path):
    if compilation._obstacle("cpu") is not None:
        pytest.skip("PyTorch finds no compiler")
    data, weights = make_transitions(rows=400), {}
    for name, compiled in (("eager", False), ("compiled", True), ("stopped", True)):
        run_dir, config = tmp_path / name, configuration(compiled)
        if name == "stopped":
            with pytest.raises(InterruptedRun):
                train(config, run_dir, data=data, progress=stop_at("behavior", 7))
        train(config, run_dir, data=data)
        weights[name] = {
            stage: load_tensors(run_dir / stage / "weights.safetensors")
            for stage in ("behavior", "policy")
        }
        seconds = load_json(run_dir / "behavior" / "report.json")["compile_seconds"]
        assert (seconds > 0) == compiled
    for stage, state in weights["compiled"].items():
        for name, value in state.items():
            assert torch.equal(weights["stopped"][stage][name], value), name
            torch.testing.assert_close(weights["eager"][stage][name], value, rtol=0, atol=1e-4)
