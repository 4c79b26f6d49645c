"""The benchmark of a whole sweep, on a grid of two by two."""

import json
from dataclasses import replace

import pytest

from benchmarks.speed import whole_sweep
from scoreregs_offline_rl import preset


def narrow(data, name):
    config = preset(data, name)
    return replace(config, **{s: replace(getattr(config, s), width=16) for s in config.stages()})


def test_it_times_both(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(whole_sweep, "preset", narrow)
    output = tmp_path / "whole.json"
    words = ["--data", "pendulum-swingup", "--run-dir", str(tmp_path), "--output", str(output)]
    words += ["--part", "0.0002", "--episodes", "1", "--seeds", "0", "1", "--betas", "0.1", "0.3"]
    monkeypatch.setattr(whole_sweep.sys, "argv", ["whole_sweep", *words])
    whole_sweep.main()
    found = json.loads(output.read_text())
    assert found["steps"]["critic"] == 4
    assert len(found["runs_seconds"]) == found["members"] == 4
    assert found["ratio"] == pytest.approx(found["sweep_seconds"] / sum(found["runs_seconds"]))
    assert "as one job" in capsys.readouterr().out


def test_no_stage_is_left_without_steps():
    config = whole_sweep.shortened(preset("my.npz", "laptop"), 1e-6, 3)
    assert {getattr(config, name).steps for name in config.stages()} == {1}
    assert config.evaluation.episodes == 3
