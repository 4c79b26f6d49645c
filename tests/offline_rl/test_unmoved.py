"""Rows and steps whose gradient is not finite do not move: they are counted, told, and kept."""

import logging
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from scoreregs.errors import ValueFunctionError
from scoreregs_offline_rl import diagnose, sweep, train
from scoreregs_offline_rl.files import load_json, save_json, save_tensors
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.division import _put_together
from scoreregs_offline_rl.stages.critic import TwinValue
from scoreregs_offline_rl.stages.finding import Finding
from scoreregs_offline_rl.stages.stage import UNMOVED
from scoreregs_offline_rl.training import compilation
from scoreregs_offline_rl.training.compilation import CompiledGradients
from scoreregs_offline_rl.training.metrics import RunningMean
from scoreregs_offline_rl.training.stage_files import StageReport
from scoreregs_offline_rl.training.step import TrainingStep
from scoreregs_offline_rl.training.trainer import no_progress
from scoreregs_offline_rl.training.unmoved import SKIPPED
from tests.offline_rl.rl_data import make_transitions
from tests.offline_rl.step_cases import new_step, state_of
from tests.offline_rl.test_older_versions import GRID, OLD, refuse
from tests.offline_rl.test_trainer import (
    BATCH,
    STEPS,
    InterruptionError,
    assert_same_outcome,
    interrupt_at,
    make_stage,
    make_trainer,
    metrics_of,
    run,
)


class Sick:
    """Whether the value's gradient is NaN in the rows whose first observation is positive."""

    def __init__(self):
        # A tensor, which a graph reads.
        self.share = torch.zeros(())

    @property
    def on(self):
        return bool(self.share)

    @on.setter
    def on(self, sick):
        self.share.fill_(float(sick))


@pytest.fixture
def sick(monkeypatch):
    whole, state = TwinValue.q, Sick()

    def q(self, action, observation):
        still = (action - action.detach()).square().sum(-1)
        well = 1 - state.share * (observation[..., 0] > 0)
        return whole(self, action, observation) + (still + well).sqrt()

    monkeypatch.setattr(TwinValue, "q", q)
    return state


@pytest.mark.parametrize("recorded", [False, True], ids=["eager", "recorded"])
@pytest.mark.parametrize("name", ["policy", "stacked policy"])
def test_a_step_says_their_share(name, recorded, sick, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **options: graph)
    step, well = new_step(name), new_step(name)
    before = step(0), well(0)
    sick.on = True
    if recorded:
        step.gradients = CompiledGradients(step)
    metrics = step(1)
    sick.on = False
    healthy = well(1)
    place = step.names.index(UNMOVED)
    assert not before[0][place].any()
    assert not healthy[place].any()
    rows = step.inputs(1)[0]
    share = (step.inputs.batch(rows).observations[..., 0] > 0).float().mean(-1)
    assert 0 < share.min() <= share.max() < 1
    torch.testing.assert_close(metrics[place], share)
    assert all(bool(value.isfinite().all()) for value in state_of(step).values())


def make_sick(sick, steps, stop=None):
    """Progress that has the value sick in some steps."""
    ends = interrupt_at(stop)

    def progress(stage, step, all_steps, metrics):
        sick.on = step + 1 in steps
        ends(stage, step, all_steps, metrics)

    return progress


def test_they_are_told_at_the_logging_interval_and_over_a_resume(tmp_path, sick, caplog):
    with caplog.at_level(logging.WARNING, "scoreregs_offline_rl"):
        _, report = run(tmp_path / "whole", "policy", make_sick(sick, (6, 7, 10)))
    said = [line for line in caplog.messages if line.startswith("policy stage")]
    lines = [line[UNMOVED] for line in metrics_of(tmp_path / "whole")]
    counts = [round(share * 4 * BATCH) for share in lines]
    assert lines[0] == lines[3] == 0
    assert min(counts[1:3]) > 0
    assert report.unmoved == {"": counts[1] + counts[2]}
    assert [line.split(", which")[0] for line in said] == [
        "policy stage, steps 5 to 8: got NaN or infinity in the gradient of "
        f"{counts[1]} of {4 * BATCH} rows",
        "policy stage, steps 9 to 12: got NaN or infinity in the gradient of "
        f"{counts[2]} of {4 * BATCH} rows",
    ]
    assert "--trainer.compile False" in said[0]
    # The checkpoint of step 10 lies between a sick step and the line that tells of it.
    with pytest.raises(InterruptionError):
        run(tmp_path / "cut", "policy", make_sick(sick, (6, 7, 10), stop=11))
    _, resumed = run(tmp_path / "cut", "policy")
    assert resumed.unmoved == report.unmoved
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_resume_at_such_a_step_goes_on_as_what_never_stopped(
    tmp_path, sick, compiled, monkeypatch
):
    """Its first call is a later one of the same training; that of a new training is refused."""
    monkeypatch.setattr(torch, "compile", lambda graph, **options: graph)
    monkeypatch.setattr(compilation, "_obstacle", lambda step: None)
    options = {"compile": compiled}
    _, report = run(tmp_path / "whole", "policy", make_sick(sick, (11,)), **options)
    with pytest.raises(InterruptionError):
        run(tmp_path / "cut", "policy", make_sick(sick, (11,), stop=11), **options)
    sick.on = True
    with pytest.raises(ValueFunctionError, match=r"NaN or infinity in the value's gradient"):
        run(tmp_path / "new", "policy", **options)
    _, resumed = run(tmp_path / "cut", "policy", make_sick(sick, (11,)), **options)
    assert resumed.unmoved == report.unmoved
    assert resumed.unmoved[""] > 0
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")


def test_a_checkpoint_of_before_has_no_such_number():
    mean = RunningMean(Accelerator(cpu=True))
    mean.load({"sums": {"q": 3.0, "gradient": 1.0}, "count": 2})
    mean.add(torch.tensor([3.0, 2.0, 0.5]), ["q", "gradient", UNMOVED])
    assert mean.mean() == pytest.approx({"q": 2.0, "gradient": 1.0, UNMOVED: 0.5 / 3})


class Overflowing(torch.amp.GradScaler):
    """PyTorch's, for a CPU, of a loss that overflows at its first two scales."""

    def scale(self, outputs):
        scaled = super().scale(outputs)
        return scaled * math.inf if self.get_scale() > 2.0**10 else scaled


def with_scaler(accelerator):
    accelerator.scaler = Overflowing("cpu", init_scale=2.0**12)
    return accelerator


def run_scaled(folder, progress=no_progress):
    trainer = make_trainer(progress)
    with_scaler(trainer._accelerator)
    options = {"steps": STEPS, "batch_size": BATCH, "folder": folder}
    return trainer.run(make_stage("critic"), make_transitions(), **options)


def test_steps_that_a_scaler_skips_are_told_and_kept(tmp_path, caplog):
    """Over resumes too, with the scale that was found."""
    with caplog.at_level(logging.WARNING, "scoreregs_offline_rl"):
        report = run_scaled(tmp_path / "whole")
    shares = [line[SKIPPED] for line in metrics_of(tmp_path / "whole")]
    assert shares == [0.5, 0, 0, 0]
    assert report.skipped == 2
    assert [line.split(", which")[0] for line in caplog.messages] == [
        "critic stage, steps 1 to 4: got a gradient that overflows float16 in 2 steps"
    ]
    for moment in (6, 7):
        with pytest.raises(InterruptionError):
            run_scaled(tmp_path / "cut", interrupt_at(moment))
    assert run_scaled(tmp_path / "cut").skipped == report.skipped
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("name", ["critic", "stacked critic", "td3_bc", "policy whose beta falls"])
def test_a_skipped_step_moves_nothing_and_the_next_moves_as_without_a_scale(name):
    made, plain = new_step(name), new_step(name)
    launched = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    step = TrainingStep(made.stage, made.inputs, with_scaler(launched))
    before = state_of(step)
    for index, expected in enumerate((1, 1, 0)):
        *_, skipped = step(index)
        assert step.names[-1] == SKIPPED
        assert bool((skipped == expected).all())
        # Parameters, averages of them, and counts of steps.
        after = state_of(step)
        assert all(after[key].equal(value) for key, value in before.items()) is bool(expected)
    plain(2)
    torch.testing.assert_close(state_of(step), state_of(plain), rtol=0, atol=0)


def test_a_finding_is_not_ok_with_any():
    well = Finding("policy", 0.1, 0.5, "10 % of the actions")
    assert well.with_unmoved(0) is well
    found = well.with_unmoved(3)
    assert not found.ok
    assert "not finite in 3 rows" in found.message
    assert found.message.endswith(well.message)


def with_unmoved(run_dir, unmoved):
    """Has the policy's report of a finished directory say so, and its result be made again."""
    report = run_dir / "policy/report.json"
    save_json(report, load_json(report) | {"unmoved": unmoved})
    (run_dir / "result.json").unlink()
    return RunDirectory(run_dir).read_config()


def test_the_health_of_a_finished_run_is_not_ok(tmp_path):
    run_dir = Path(shutil.copytree(OLD / "run", tmp_path / "run"))
    result = train(with_unmoved(run_dir, {"": 3}), run_dir, progress=refuse)
    assert {name: its["ok"] for name, its in result["health"].items()}["policy"] is False
    assert "in 3 rows" in result["health"]["policy"]["message"]
    assert diagnose(run_dir)["policy"].message == result["health"]["policy"]["message"]


def test_the_health_of_that_member_of_a_sweep_is_not_ok(tmp_path):
    run_dir = Path(shutil.copytree(OLD / "sweep", tmp_path / "sweep"))
    sweep(with_unmoved(run_dir, {"seed-1_beta-0.5": 2}), run_dir, grid=GRID, progress=refuse)
    health = {
        path.name: load_json(path / "result.json")["health"]["policy"]["limit"]
        for path in (run_dir / "members").iterdir()
    }
    assert {name for name, limit in health.items() if limit == 0} == {"seed-1_beta-0.5"}


def test_parts_of_a_divided_sweep_keep_theirs(tmp_path):
    parts = [tmp_path / "one", tmp_path / "two"]
    for part, unmoved in zip(parts, ({"seed-0": 2}, {"seed-1": 5}), strict=True):
        save_tensors(part / "weights.safetensors", {"w": torch.zeros(1, 2)})
        save_json(part / "report.json", asdict(StageReport(1, 1.0, 1.0, {}, unmoved=unmoved)))
    _put_together(parts, tmp_path / "both")
    assert load_json(tmp_path / "both/report.json")["unmoved"] == {"seed-0": 2, "seed-1": 5}
