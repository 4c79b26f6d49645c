"""A step's gradients as one graph: the same training, on a CPU and on a device that is not one."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scoreregs_offline_rl import (
    STAGES,
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors, save_json
from scoreregs_offline_rl.runs.run import train
from scoreregs_offline_rl.training import compilation
from scoreregs_offline_rl.training.compilation import (
    COMPILE_FROM,
    CompiledGradients,
    Program,
    choose_program,
    record_gradients,
)
from scoreregs_offline_rl.training.interruption import InterruptedRun
from tests.offline_rl.rl_data import make_transitions
from tests.offline_rl.step_cases import CASES, STEPS, WARM_STARTS, new_step, state_of
from tests.offline_rl.test_sweep import stop_at

EXACT: dict[str, Any] = {"rtol": 0, "atol": 0}


@pytest.mark.parametrize("name", CASES)
def test_recorded_steps_end_where_eager_ones_do(name, monkeypatch):
    """With the operations that a compiler is given; after 200 steps, of stacked members fewer."""
    monkeypatch.setattr(torch, "compile", lambda graph, **options: graph)
    eager, recorded = new_step(name), new_step(name)
    eager(0)
    recorded(0)
    recorded.gradients = CompiledGradients(recorded)
    for step in range(1, 200 if name in STAGES else 40):
        metrics = eager(step), recorded(step)
        torch.testing.assert_close(*metrics, rtol=1e-4, atol=1e-4)
    assert eager.names == recorded.names
    torch.testing.assert_close(state_of(recorded), state_of(eager), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*CASES, *WARM_STARTS[:1]])
def test_a_step_is_one_graph_and_stays_it(name, monkeypatch):
    """No break, nothing compiled again over 1,000 steps, and recording it changes nothing."""
    compiled, graphs, step = torch.compile, [], new_step(name)

    def compile_counted(graph, **options):
        assert options == {"fullgraph": True, "dynamic": False}

        def backend(module, inputs):
            graphs.append(module)
            return found_once(module)

        torch.testing.assert_close(state_of(step), before, **EXACT)
        assert all(parameter.grad is None for parameter in step.parameters)
        return compiled(graph, backend=backend, **options)

    monkeypatch.setattr(torch, "compile", compile_counted)
    step(0)
    gradients = CompiledGradients(step)
    for index in range(1, STEPS + 1):
        if index < 3:
            before = state_of(step)
            step.gradients = gradients
        step(index)
    # TD3+BC moves its policy in every other step, which is another graph.
    assert len(graphs) == (2 if "td3_bc" in name else 1)


def found_once(module):
    """A graph that is run once: whether it may be run again is asked before, in every step."""
    found = []

    def run(*inputs):
        if not found:
            found.append(module(*inputs))
        return found[0]

    return run


def test_a_loss_that_looks_at_numbers_is_not_recorded():
    step = new_step("critic")

    def looks(batch, randoms):
        loss = step.parameters[0].sum() * batch.rewards[0].item()
        return loss, {"loss": loss}

    step.stage.forward = looks
    with pytest.raises(RunError, match=r"critic stage whose loss cannot be.*compile False"):
        record_gradients(step, *step.inputs(0))


def test_a_buffer_that_is_replaced_is_refused():
    step = new_step("critic")
    forward = step.stage.forward
    step.stage.register_buffer("calls", torch.zeros(()))

    def count(batch, randoms):
        step.stage.calls = step.stage.get_buffer("calls") + 1
        return forward(batch, randoms)

    step.stage.forward = count
    with pytest.raises(RunError, match=r"another tensor in the place of its buffer calls"):
        record_gradients(step, *step.inputs(0))


def test_on_a_device_that_is_not_the_cpu():
    """A process of its own: the device has a name for as long as it lives."""
    registration = pytest.importorskip("torch.utils.backend_registration")
    if not hasattr(registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this PyTorch has no devices in Python")
    script = str(Path(__file__).with_name("fake_device.py"))
    child = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr[-3000:]
    assert json.loads(child.stdout) == CASES


@pytest.fixture
def quick(monkeypatch):
    """A compiler that takes no time, and a trial that says what the test says."""
    monkeypatch.setattr(compilation, "_obstacle", lambda step: None)
    monkeypatch.setattr(torch, "compile", lambda graph, **options: graph)


def tried(monkeypatch, program):
    def trial(step, *, sure):
        return replace(program, compiled=True) if sure else program

    monkeypatch.setattr(compilation, "_try", trial)


@pytest.mark.parametrize("faster", [True, False])
def test_a_trial_decides_for_long_stages_and_is_kept(tmp_path, monkeypatch, quick, faster):
    tried(monkeypatch, Program(faster, 2.0, 1.0, 7.0))
    step = new_step("critic")
    assert not choose_program(step, None, COMPILE_FROM - 1, tmp_path).compiled
    assert not (tmp_path / "program.json").exists()
    assert choose_program(step, None, COMPILE_FROM, tmp_path).compiled is faster
    assert Program(**load_json(tmp_path / "program.json")).compiled is faster
    # Another trial would say the opposite.
    tried(monkeypatch, Program(not faster))
    assert choose_program(step, None, COMPILE_FROM, tmp_path).compiled is faster


@pytest.mark.parametrize("wanted", [True, False])
def test_what_was_asked_for_is_kept_for_a_resume_that_does_not_ask(tmp_path, quick, wanted):
    for asked in (wanted, None, not wanted, None):
        compiled = choose_program(new_step("critic"), asked, COMPILE_FROM, tmp_path).compiled
        wanted = wanted if asked is None else asked
        assert compiled is wanted


def test_a_missing_compiler_is_kept_for_a_resume_that_has_one(tmp_path, monkeypatch, quick):
    monkeypatch.setattr(compilation, "_obstacle", lambda step: "no compiler")
    assert not choose_program(new_step("critic"), None, COMPILE_FROM, tmp_path).compiled
    monkeypatch.setattr(compilation, "_obstacle", lambda step: None)
    tried(monkeypatch, Program(True))
    assert not choose_program(new_step("critic"), None, COMPILE_FROM, tmp_path).compiled


def test_a_trial_takes_no_step(tmp_path, quick):
    step = new_step("policy with adaptive times")
    step(0)
    before, eager = state_of(step), step.gradients
    program = choose_program(step, None, COMPILE_FROM, tmp_path)
    assert program.eager_seconds > 0
    assert program.compiled_seconds > 0
    assert (step.gradients == eager) != program.compiled
    torch.testing.assert_close(state_of(step), before, rtol=0, atol=0)


def test_a_stage_that_is_not_compilable(tmp_path, monkeypatch, quick):
    step = new_step("critic")
    monkeypatch.setattr(type(step.stage), "compilable", False)
    assert not choose_program(step, True, 1, tmp_path).compiled


def test_importing_does_not_load_the_compiler():
    code = "import sys, scoreregs_offline_rl; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_a_compiler_it_is_refused_or_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(compilation, "_obstacle", lambda step: "no compiler")
    step = new_step("critic")
    with pytest.raises(RunError, match="no compiler"):
        choose_program(step, True, 1, tmp_path)
    with caplog.at_level("INFO"):
        assert not choose_program(step, None, COMPILE_FROM, tmp_path).compiled
    assert "not compiled" in caplog.text


def test_what_remembers_is_not_compiled_in_several_processes(tmp_path, monkeypatch, quick):
    step: Any = new_step("policy with adaptive times")
    step.processes = 2
    with pytest.raises(RunError, match="several processes"):
        choose_program(step, True, 1, tmp_path)
    # It was compiled in one process, and goes on in two.
    save_json(tmp_path / "program.json", asdict(Program(True)))
    assert not choose_program(step, None, COMPILE_FROM, tmp_path).compiled
    step.processes, step.scaled = 1, True
    with pytest.raises(RunError, match="loss is scaled"):
        choose_program(step, True, 1, tmp_path)


def configuration(compiled):
    return TrainConfig(
        data="made",
        beta=0.1,
        critic=CriticConfig(steps=200, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=200, batch_size=32, width=16, blocks=1),
        policy=PolicyConfig(steps=200, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=100, checkpoint_every=50, cpu=True, compile=compiled),
    )


def test_a_compiled_run_trains_the_same_and_resumes_bit_for_bit(tmp_path):
    """By the compiler itself, over 200 steps of three stages."""
    if compilation._obstacle(new_step("critic")) is not None:
        pytest.skip("PyTorch finds no compiler")
    stages, data = ("critic", "behavior", "policy"), make_transitions(rows=400)
    for name, compiled in (("eager", False), ("compiled", True)):
        train(configuration(compiled), tmp_path / name, stages=stages, data=data)
    source, config = {"weights": str(tmp_path / "compiled")}, configuration(True)
    own = {name: replace(getattr(config, name), **source) for name in stages[:2]}
    config = replace(config, **own)
    arguments = {"run_dir": tmp_path / "stopped", "stages": stages, "data": data}
    with pytest.raises(InterruptedRun):
        train(config, **arguments, progress=stop_at("policy", 107))
    train(config, **arguments)
    for stage in stages:
        eager, compiled, stopped = (
            load_tensors(tmp_path / run / stage / "weights.safetensors")
            for run in ("eager", "compiled", "stopped")
        )
        torch.testing.assert_close(stopped, compiled, **EXACT)
        torch.testing.assert_close(eager, compiled, rtol=0, atol=1e-4)
        reports = (
            load_json(tmp_path / run / stage / "report.json") for run in ("eager", "compiled")
        )
        assert [report["compile_seconds"] > 0 for report in reports] == [False, True]
