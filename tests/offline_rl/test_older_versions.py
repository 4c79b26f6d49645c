"""Directories that version 0.1.0 of 2026-11-24 wrote load, evaluate, export, compare and go on.

`old_runs/run` was made by `train`, `old_runs/sweep` by `sweep`, both on the embedded data with
networks of eight units; their checkpoints were left out.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scoreregs_offline_rl import (
    RunError,
    SweepGrid,
    SweepTable,
    TrainConfig,
    TrainerConfig,
    compare_runs,
    diagnose,
    evaluate_run,
    export_onnx,
    load_models,
    load_policy,
    sweep,
    train,
)
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.files import load_json, load_tensors
from scoreregs_offline_rl.randoms import NEWEST_DRAWS
from scoreregs_offline_rl.runs.directory import RunDirectory

OLD = Path(__file__).parent / "old_runs"
GRID = SweepGrid(seeds=(0, 1), betas=(0.1, 0.5))


@pytest.fixture
def run_dir(tmp_path):
    return Path(shutil.copytree(OLD / "run", tmp_path / "run"))


@pytest.fixture
def sweep_dir(tmp_path):
    return Path(shutil.copytree(OLD / "sweep", tmp_path / "sweep"))


def refuse(stage, step, steps, metrics):
    raise AssertionError(f"the {stage} stage was trained again")


def test_its_policies_act_as_they_did(run_dir):
    result = load_json(run_dir / "result.json")
    again = evaluate_run(run_dir, 2, 0)
    assert set(again) == {"policy", "awr"}
    assert again["policy"].returns == pytest.approx(result["policy"]["returns"], rel=1e-5)
    assert again["awr"].returns == pytest.approx(result["baseline"]["returns"], rel=1e-5)


def test_its_models_are_found(run_dir):
    models = load_models(run_dir)
    assert set(models.stages) == {"critic", "behavior", "awr", "policy"}
    assert models.config.awr.advantage_scale == 3.0
    assert (models.config.awr.steps, models.config.awr.width) == (8, 8)
    kept = load_tensors(run_dir / "baseline" / "weights.safetensors")
    torch.testing.assert_close(models.stages["awr"].state_dict(), kept, rtol=0, atol=0)
    findings = diagnose(run_dir)
    for name, kept in load_json(run_dir / "result.json")["health"].items():
        assert findings[name].measured == pytest.approx(kept["measured"], rel=1e-4), name


def test_its_policies_are_exported_by_the_name_of_then_and_of_now(run_dir, tmp_path):
    for name in ("policy", "baseline", "awr"):
        assert export_onnx(load_policy(run_dir, name), tmp_path / f"{name}.onnx").checked
    record = load_policy(run_dir, "baseline").record
    assert record is not None
    assert record.method == "advantage-weighted regression"


def test_it_is_compared(run_dir):
    assert {row.method for row in compare_runs([run_dir]).rows} == {"policy", "awr", "data"}


def test_a_finished_one_is_not_trained_again(run_dir):
    config = RunDirectory(run_dir).read_config()
    result = train(config, run_dir, progress=refuse)
    assert result["awr"] == load_json(OLD / "run" / "result.json")["baseline"]


def test_it_goes_on_where_it_was(run_dir):
    """Without its last stage, which is trained to the same weights, and with a new method."""
    shutil.rmtree(run_dir / "policy")
    (run_dir / "result.json").unlink()
    config = RunDirectory(run_dir).read_config()
    result = train(config, run_dir, stages=("cloning", "awr", "policy"))
    assert not (run_dir / "awr").exists()
    assert set(result["stages"]) == {"critic", "behavior", "cloning", "awr", "policy"}
    ours, its = (load_tensors(d / "policy/weights.safetensors") for d in (run_dir, OLD / "run"))
    torch.testing.assert_close(ours, its, rtol=0, atol=1e-4)


def test_rows_and_noise_are_drawn_as_it_began(run_dir, tmp_path):
    """Its configuration says nothing of how; the newest way is that of new directories."""
    config = TrainConfig("pendulum-swingup")
    assert "draws" not in load_json(run_dir / "config.json")["trainer"]
    assert RunDirectory(run_dir).settled(config).trainer.draws == 1
    assert RunDirectory(tmp_path / "new").settled(config).trainer.draws == NEWEST_DRAWS
    other = replace(config, trainer=TrainerConfig(draws=NEWEST_DRAWS))
    current = RunDirectory(run_dir).read_config()
    with pytest.raises(RunError, match=r"trainer\.draws: 1 before, 2 now"):
        train(replace(current, trainer=other.trainer), run_dir)


def test_a_setting_that_changed_is_named(run_dir):
    config = load_json(run_dir / "config.json")
    config["critic"]["expectile"] = 0.8
    (run_dir / "config.json").write_text(json.dumps(config))
    current = RunDirectory(OLD / "run").read_config()
    with pytest.raises(RunError, match=r"\(critic\.expectile: 0\.8 before, 0\.7 now\)"):
        train(current, run_dir)


def test_a_setting_of_a_newer_version_is_named(run_dir):
    config = load_json(run_dir / "config.json")
    (run_dir / "config.json").write_text(json.dumps(config | {"dreams": {"steps": 1}}))
    with pytest.raises(RunError, match=r"\['dreams'\].*version"):
        load_models(run_dir)


def test_the_command_line_speaks_its_language(run_dir, capsys):
    words = ["baseline", "--run-dir", str(run_dir), "--baseline.clip", "100.0"]
    assert main(words) == 0
    assert "advantage-weighted regression" in capsys.readouterr().out


def test_a_sweep_goes_on(sweep_dir):
    before = SweepTable.load(sweep_dir)
    config = RunDirectory(sweep_dir).read_config()
    again = sweep(config, sweep_dir, grid=GRID, progress=refuse)
    assert again.values.tolist() == before.values.tolist()
    shutil.rmtree(sweep_dir / "policy")
    (sweep_dir / "result.json").unlink()
    sweep(config, sweep_dir, grid=GRID)
    ours, its = (load_tensors(d / "policy/weights.safetensors") for d in (sweep_dir, OLD / "sweep"))
    torch.testing.assert_close(ours, its, rtol=0, atol=1e-4)


def test_members_of_a_sweep_are_runs(sweep_dir):
    folder = sweep_dir / "members" / "seed-1_beta-0.5"
    assert set(evaluate_run(folder, 2)) == {"policy"}
    assert load_policy(folder).record is not None
