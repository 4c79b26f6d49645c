"""Several steps as one graph do what they do one by one."""

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from scoreregs_offline_rl import TrainerConfig
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.training import capture
from scoreregs_offline_rl.training.capture import UNROLLED, CapturedSteps, check_capture
from scoreregs_offline_rl.training.compilation import CompiledGradients
from scoreregs_offline_rl.training.inputs import SeedInputs
from scoreregs_offline_rl.training.step import TrainingStep
from tests.offline_rl.rl_data import make_transitions
from tests.offline_rl.step_cases import CASES, WARM_STARTS, new_step, state_of
from tests.offline_rl.test_trainer import BATCH, make_stage, run

# Steps of TD3+BC differ, and are not captured.
ALIKE = [name for name in [*CASES, *WARM_STARTS] if "td3_bc" not in name]


def run_again(take, step):
    """In place of a graph: the function itself."""
    del step
    return take


@pytest.mark.parametrize("name", ALIKE)
def test_steps_in_a_row_are_the_steps(name):
    """Their rows, draws across blocks, learning rates, optimiser and metrics, to the bit."""
    one_by_one, in_a_row = new_step(name), new_step(name)
    several = CapturedSteps(in_a_row, run_again)
    for first in range(0, 6 * UNROLLED, UNROLLED):
        found = torch.stack([one_by_one(first + k) for k in range(UNROLLED)]).sum(0)
        if first == 2 * UNROLLED:
            # As after a resume: some steps one by one, in the middle of a block.
            ours = torch.stack([in_a_row(first + k) for k in range(UNROLLED)]).sum(0)
        else:
            ours = several(first)
        torch.testing.assert_close(ours, found, rtol=0, atol=0)
    torch.testing.assert_close(state_of(in_a_row), state_of(one_by_one), rtol=0, atol=0)
    assert in_a_row.next_rates() == one_by_one.next_rates()
    assert all(
        mine.equal(its) for mine, its in zip(in_a_row.moments(), one_by_one.moments(), strict=True)
    )


class Recorded:
    """In place of a CUDA graph: what is taken while it is captured changes nothing yet."""

    def __init__(self, step):
        self.step, self.before = step, []

    def register_generator_state(self, generator):
        del generator

    def replay(self):
        raise NotImplementedError

    def __enter__(self):
        self.before = [(tensor, tensor.clone()) for tensor in capture._tensors(self.step)]

    def __exit__(self, *error):
        with torch.no_grad():
            for tensor, value in self.before:
                tensor.copy_(value)


@pytest.mark.parametrize("name", ["critic", "policy"])
def test_what_warming_up_does_is_undone_after_a_resume(name, monkeypatch):
    """An optimiser that was loaded counts the steps that were taken, not those that warmed up."""
    step, resumed = new_step(name), new_step(name)
    for index in range(UNROLLED):
        step(index)
    resumed.stage.load_state_dict(state_of(step))
    resumed._optimizer.load_state_dict(copy.deepcopy(step._optimizer.state_dict()))
    inputs = resumed.inputs
    graph = Recorded(resumed)
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda of: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda of: of)
    inputs.seek(UNROLLED)
    capture._cuda_graph(lambda: CapturedSteps(resumed, run_again)._take(), resumed)
    for mine, its in zip(resumed.moments(), step.moments(), strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=0)
    torch.testing.assert_close(state_of(resumed), state_of(step), rtol=0, atol=0)


def test_what_cannot_be_captured_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"steps to capture and training on cpu.*no-capture"):
        run(tmp_path, capture=True)
    step = new_step("critic")
    step.parameters = [torch.empty(1, device="meta")]
    with pytest.raises(RunError, match="training on meta"):
        check_capture(step, 2, alone=True)
    assert not TrainerConfig().capture


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA knows")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["critic", "behavior", "policy"])
def test_a_graph_on_a_gpu_does_what_steps_do(name, compiled):
    def on_gpu():
        stage, data = make_stage(name), make_transitions().to("cuda")
        for given in (getattr(stage, "given", None),):
            if given is not None:
                given.value.critic.to("cuda")
                for network in given.prior.networks():
                    network.to("cuda")
        inputs = SeedInputs(stage, data, BATCH, seed=0, part=slice(None))
        step = TrainingStep(stage, inputs, Accelerator(step_scheduler_with_optimizer=False))
        step(0)
        if compiled:
            step.gradients = CompiledGradients(step)
        return step

    one_by_one, captured = on_gpu(), on_gpu()
    several = CapturedSteps(captured)
    for index in range(1, UNROLLED):
        one_by_one(index)
        captured(index)
    for first in range(UNROLLED, 20 * UNROLLED, UNROLLED):
        for k in range(UNROLLED):
            one_by_one(first + k)
        several(first)
    torch.testing.assert_close(state_of(captured), state_of(one_by_one), rtol=1e-4, atol=1e-5)
