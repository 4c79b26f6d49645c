"""The memory benchmark on few rows; whose memory is counted."""

import json
import os
from typing import Any

import h5py
import numpy as np
import torch

from benchmarks.speed import memory


def test_a_process_is_not_charged_for_the_one_that_started_it():
    block = np.ones(75_000_000)
    size, found = block.nbytes, memory.alone(memory.peak_memory)
    del block
    assert found < memory.peak_memory() - size / 2


def test_data_has_the_layout_of_d4rl(tmp_path):
    memory.write_data(tmp_path / "data.hdf5", 2500)
    with h5py.File(tmp_path / "data.hdf5") as opened:
        file: Any = opened
        arrays = {key: file[key][()] for key in file}
    assert arrays["observations"].shape == arrays["next_observations"].shape == (2500, 11)
    assert arrays["actions"].shape == (2500, 3)
    assert {arrays[key].dtype for key in ("observations", "actions", "rewards")} == {
        np.dtype(np.float32)
    }
    assert (arrays["observations"][1:] == arrays["next_observations"][:-1]).all()
    assert np.flatnonzero(arrays["timeouts"]).tolist() == [999, 1999]


def test_command_writes_a_row_for_every_stage(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "alone", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    threads, output = torch.get_num_threads(), tmp_path / "memory.json"
    options = ["--rows", "3000", "--steps", "2", "--threads", str(threads), "--compiled", "False"]
    monkeypatch.setattr(memory.sys, "argv", ["memory", "--output", str(output), *options])
    memory.main()
    content = json.loads(output.read_text())
    assert str(tmp_path) not in content["command"]
    assert content["threads"] == threads
    assert content["data"] == {"rows": 3000, "observation": 11, "action": 3}
    assert {"seed", "versions", "machine", "steps"} <= content.keys()
    assert [row["process"] for row in content["rows"]] == [
        "imports",
        "critic",
        "behavior",
        "awr",
        "policy",
    ]
    assert all(row["bytes"] > 1e8 for row in content["rows"])
    assert "| policy |" in capsys.readouterr().out
