"""A member of a sweep that diverges is named and lost; the others are what they are without it."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreregs_offline_rl import EvaluationConfig, RunError, SweepGrid, SweepTable, sweep, train
from scoreregs_offline_rl.data.hdf5 import load_hdf5, save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.files import load_json, load_tensors
from scoreregs_offline_rl.stages.critic import CriticStage
from scoreregs_offline_rl.training.trainer import no_progress
from scoreregs_offline_rl.training.unmoved import SKIPPED
from tests.offline_rl.rl_data import make_transitions
from tests.offline_rl.step_cases import steps_of
from tests.offline_rl.test_timing import small
from tests.offline_rl.test_trainer import (
    BATCH,
    STEPS,
    InterruptionError,
    assert_same_outcome,
    interrupt_at,
    make_trainer,
    metrics_of,
)

GRID = SweepGrid(seeds=(0, 1, 2), betas=(0.1, 0.2))
FEW = ("critic", "behavior", "policy")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    return load_hdf5(path)


@pytest.fixture
def diverging(monkeypatch):
    """The second member's critic is NaN from some step on."""
    whole = CriticStage.forward

    def forward(self, batch, randoms):
        loss, metrics = whole(self, batch, randoms)
        if loss.ndim and len(loss) == 3:
            sick = torch.tensor([1.0, float("nan"), 1.0])
            loss, metrics = loss * sick, {name: value * sick for name, value in metrics.items()}
        return loss, metrics

    monkeypatch.setattr(CriticStage, "forward", forward)


def configuration(**more):
    return small("swing", evaluation=EvaluationConfig(episodes=2, every=10), **more)


def test_the_others_are_kept(data, tmp_path, diverging, caplog):
    table = sweep(configuration(), tmp_path / "sick", grid=GRID, data=data)
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert sum("critic stage, step 10: the numbers of seed-1 are" in line for line in said) == 1
    assert np.isnan(table.values[1]).all()
    assert np.isfinite(table.values[[0, 2]]).all()
    assert table.best in GRID.betas
    assert "nan" not in table.table().splitlines()[0]
    report = load_json(tmp_path / "sick" / "critic" / "report.json")
    assert report["lost"] == ["seed-1"]
    weights = load_tensors(tmp_path / "sick" / "critic" / "weights.safetensors")
    assert all(not value[1].any() for value in weights.values())
    members = tmp_path / "sick" / "members"
    assert not (members / "seed-1_beta-0.1" / "agent").exists()
    lines = load_json(tmp_path / "sick" / "result.json")["members"]
    assert lines["seed-1_beta-0.2"]["lost"] == ["critic", "policy"]
    assert lines["seed-0_beta-0.2"]["lost"] == []
    # The same as in a sweep of the others alone, but for the order of sums.
    others = replace(GRID, seeds=(0, 2))
    sweep(configuration(), tmp_path / "well", grid=others, data=data, stages=FEW)
    for label in ("seed-0_beta-0.2", "seed-2_beta-0.1"):
        ours, its = (
            load_tensors(tmp_path / name / "members" / label / "agent" / "model.safetensors")
            for name in ("sick", "well")
        )
        torch.testing.assert_close(ours, its, rtol=0, atol=1e-4)
    assert SweepTable.load(tmp_path / "sick").values.shape == (3, 2)


def test_a_sweep_that_loses_a_member_goes_on_after_an_interruption(data, tmp_path, diverging):
    def stop(stage, step, steps, metrics):
        if (stage, step) == ("critic", 25):
            raise RuntimeError("stop")

    config = configuration()
    with pytest.raises(RuntimeError, match="stop"):
        sweep(config, tmp_path / "cut", grid=GRID, data=data, progress=stop)
    for name in ("cut", "whole"):
        sweep(config, tmp_path / name, grid=GRID, data=data)
    for stage in FEW:
        found = [tmp_path / n / stage / "weights.safetensors" for n in ("cut", "whole")]
        assert found[0].read_bytes() == found[1].read_bytes()


def run_scaled(folder, progress=no_progress):
    """Two members, of which the second's loss is NaN and its weights are not."""
    steps = steps_of("stacked critic")
    trainer, stage, members = make_trainer(progress), steps.stages[-1], steps._members
    trainer._accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    options = {"steps": STEPS, "batch_size": BATCH, "members": members, "keep_others": True}
    return stage, trainer.run(stage, make_transitions(), folder=folder, **options)


def test_it_does_not_hold_up_scaled_gradients_of_the_others(tmp_path, monkeypatch):
    whole = CriticStage.forward

    def forward(self, batch, randoms):
        loss, metrics = whole(self, batch, randoms)
        if not loss.ndim:
            return loss, metrics
        sick = torch.tensor([1.0, math.nan])
        return loss * sick, {name: value * sick for name, value in metrics.items()}

    monkeypatch.setattr(CriticStage, "forward", forward)
    stage, report = run_scaled(tmp_path / "whole")
    lost = report.lost[0]
    # It is found at the first line of metrics, of four steps.
    kept = f"{SKIPPED}/{next(label for label in ('seed-0', 'seed-3') if label != lost)}"
    assert [line[kept] for line in metrics_of(tmp_path / "whole")] == [1, 0, 0, 0]
    assert report.skipped == 4
    assert all(not value[1].any() for value in stage.state_dict().values())
    assert all(bool(value[0].isfinite().all()) for value in stage.state_dict().values())
    for moment in (6, 12):
        with pytest.raises(InterruptionError):
            run_scaled(tmp_path / "cut", interrupt_at(moment))
    run_scaled(tmp_path / "cut")
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")


def test_a_run_or_all_of_a_sweep_is_an_error(data, tmp_path, monkeypatch):
    whole = CriticStage.forward

    def forward(self, batch, randoms):
        loss, metrics = whole(self, batch, randoms)
        return loss * float("nan"), {name: n * float("nan") for name, n in metrics.items()}

    monkeypatch.setattr(CriticStage, "forward", forward)
    with pytest.raises(RunError, match="got loss/seed-0 = nan in the critic stage up to step 10"):
        sweep(configuration(), tmp_path / "sweep", grid=GRID, data=data)
    with pytest.raises(RunError, match="got loss = nan in the critic stage up to step 10"):
        train(configuration(), tmp_path / "run", data=data)
