"""The benchmark of a divided sweep, whose commands take no time."""

import json

import pytest
import torch

from benchmarks.speed import divided_sweep
from scoreregs_offline_rl.files import save_json, save_tensors

SECONDS = {"1": 8.0, "2": 4.0}


def test_it_times_each_number_of_processes(tmp_path, monkeypatch, capsys):
    commands = []

    def finished(words, *, env, check):
        """In place of a process: what a sweep of it leaves."""
        assert check
        assert env["OMP_NUM_THREADS"] == "1"
        commands.append(words)
        count, folder = (words[words.index(w) + 1] for w in ("--nproc-per-node", "--run-dir"))
        for stage in divided_sweep.STAGES:
            weights = {"w": torch.full((2,), float(count == "2" and stage == "policy"))}
            save_tensors(tmp_path / folder / stage / "weights.safetensors", weights)
        stages = {stage: {"seconds": SECONDS[count]} for stage in divided_sweep.STAGES}
        save_json(tmp_path / folder / "result.json", {"stages": stages})

    monkeypatch.setattr(divided_sweep.subprocess, "run", finished)
    output = tmp_path / "divided.json"
    words = ["--data", "made.npz", "--run-dir", str(tmp_path), "--output", str(output)]
    monkeypatch.setattr(divided_sweep.sys, "argv", ["divided_sweep", *words, "--rounds", "2"])
    divided_sweep.main()
    found = json.loads(output.read_text())
    assert [row["processes"] for row in found["rows"]] == [1, 2]
    assert len(commands) == 4
    assert found["rows"][1]["training_seconds"] == [16.0, 16.0]
    assert found["rows"][1]["training_faster"] == pytest.approx(2.0)
    assert found["rows"][0]["faster"] == 1.0
    assert found["rows"][1]["differences"] == {
        "critic": 0,
        "behavior": 0,
        "cloning": 0,
        "policy": 1,
    }
    assert "2 processes" in capsys.readouterr().out
