"""A step's gradients as one graph: the same training, on a CPU and on a device that is not one."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

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
from scoreregs_offline_rl.stages.critic import TwinValue
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.stacking import stack
from scoreregs_offline_rl.training import compilation
from scoreregs_offline_rl.training.compilation import (
    COMPILE_FROM,
    CompiledGradients,
    Program,
    choose_program,
    record_gradients,
)
from scoreregs_offline_rl.training.inputs import SeedInputs, StackedInputs
from scoreregs_offline_rl.training.interruption import InterruptedRun
from scoreregs_offline_rl.training.step import TrainingStep
from tests.offline_rl.rl_data import make_transitions
from tests.offline_rl.test_sweep import stop_at
from tests.offline_rl.test_trainer import BATCH, make_stage

REMEMBERING = PolicyConfig(steps=9, sampler="adaptive", baseline="optimal_noise", normalize="l2")
CASES = [*STAGES, "stacked behavior", "policy that remembers"]


def new_stage(name):
    if name == "stacked behavior":
        return stack([make_stage("behavior") for _ in range(2)])
    if name == "policy that remembers":
        made: Any = [make_stage(n) for n in ("critic", "behavior", "policy")]
        critic, behavior, policy = made
        value = TwinValue(critic.critic)
        return PolicyStage(policy.policy, value, behavior.prior, REMEMBERING, beta=0.1)
    return make_stage(name)


def new_step(name, **accelerator):
    stage, data = new_stage(name), make_transitions()
    seeds = range(2 if name.startswith("stacked") else 1)
    inputs = [SeedInputs(stage, data, BATCH, seed=s, part=slice(None)) for s in seeds]
    both = inputs[0] if len(inputs) == 1 else StackedInputs(inputs)
    launched = Accelerator(cpu=True, step_scheduler_with_optimizer=False, **accelerator)
    return TrainingStep(stage, both, launched)


def state_of(step):
    return {name: value.clone() for name, value in step.stage.state_dict().items()}


@pytest.mark.parametrize("name", CASES)
def test_recorded_steps_end_where_eager_ones_do(name, monkeypatch):
    """After 200 steps, with the operations that a compiler is given."""
    monkeypatch.setattr(torch, "compile", lambda graph, **options: graph)
    eager, recorded = new_step(name), new_step(name)
    eager(0)
    recorded(0)
    recorded.gradients = CompiledGradients(recorded)
    for step in range(1, 200):
        metrics = eager(step), recorded(step)
        torch.testing.assert_close(*metrics, rtol=1e-4, atol=1e-4)
    assert eager.names == recorded.names
    torch.testing.assert_close(state_of(recorded), state_of(eager), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_one_graph_and_stays_it(name, monkeypatch):
    """No break, and nothing is compiled again over many steps."""
    compiled, graphs = torch.compile, []

    def compile_counted(graph, **options):
        assert options == {"fullgraph": True, "dynamic": False}

        def backend(module, inputs):
            graphs.append(module)
            return module

        return compiled(graph, backend=backend, **options)

    monkeypatch.setattr(torch, "compile", compile_counted)
    step = new_step(name)
    step(0)
    step.gradients = CompiledGradients(step)
    for index in range(1, 1001 if name == "td3_bc" else 101):
        step(index)
    # TD3+BC moves its policy in every other step, which is another graph.
    assert len(graphs) == (2 if name == "td3_bc" else 1)


@pytest.mark.parametrize("name", CASES)
def test_recording_changes_nothing(name):
    step = new_step(name)
    step(0)
    before = state_of(step)
    record_gradients(step, *step.inputs(1))
    torch.testing.assert_close(state_of(step), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in step.parameters)


def test_a_loss_that_looks_at_numbers_is_not_recorded():
    step = new_step("critic")

    def looks(batch, randoms):
        loss = step.parameters[0].sum() * batch.rewards[0].item()
        return loss, {"loss": loss}

    step.stage.forward = looks
    with pytest.raises(RunError, match=r"critic stage whose loss cannot be recorded.*no-compile"):
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
    assert json.loads(child.stdout) == [*STAGES]


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
    assert not choose_program(step, False, COMPILE_FROM, tmp_path).compiled
    assert not (tmp_path / "program.json").exists()
    assert choose_program(step, None, COMPILE_FROM, tmp_path).compiled is faster
    assert Program(**load_json(tmp_path / "program.json")).compiled is faster
    # Another trial would say the opposite.
    tried(monkeypatch, Program(not faster))
    assert choose_program(step, None, COMPILE_FROM, tmp_path).compiled is faster


def test_a_trial_takes_no_step(tmp_path, quick):
    step = new_step("policy that remembers")
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
    step: Any = new_step("policy that remembers")
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
        critic=CriticConfig(steps=3, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=12, batch_size=32, width=16, blocks=1),
        policy=PolicyConfig(steps=12, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=5, checkpoint_every=5, cpu=True, compile=compiled),
    )


def test_a_compiled_run_trains_the_same_and_resumes_bit_for_bit(tmp_path):
    if compilation._obstacle(new_step("critic")) is not None:
        pytest.skip("PyTorch finds no compiler")
    stages = ("critic", "behavior", "policy")
    data, weights = make_transitions(rows=400), {}
    for name, compiled in (("eager", False), ("compiled", True), ("stopped", True)):
        run_dir, config = tmp_path / name, configuration(compiled)
        if name == "stopped":
            with pytest.raises(InterruptedRun):
                train(config, run_dir, stages=stages, data=data, progress=stop_at("behavior", 7))
        train(config, run_dir, stages=stages, data=data)
        weights[name] = {
            stage: load_tensors(run_dir / stage / "weights.safetensors") for stage in stages
        }
        seconds = load_json(run_dir / "behavior" / "report.json")["compile_seconds"]
        assert (seconds > 0) == compiled
    for stage, state in weights["compiled"].items():
        for name, value in state.items():
            assert torch.equal(weights["stopped"][stage][name], value), name
            torch.testing.assert_close(weights["eager"][stage][name], value, rtol=0, atol=1e-4)
