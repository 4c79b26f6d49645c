"""The benchmark of latencies, on a few calls."""

import json
import time

import numpy as np
import pytest

pytest.importorskip("onnxscript", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("diffusers", reason="needs the extra diffusers")

from benchmarks.speed import latency
from benchmarks.speed.workload import ACTION, OBSERVATION


def test_percentiles_are_of_the_calls():
    """Of 2,500 calls every fiftieth waits 3 ms: the median is without it, the tail has it."""
    calls = []

    def act(x):
        assert x.shape == (OBSERVATION,)
        calls.append(x)
        if len(calls) > latency._WARM_UP and len(calls) % 50 == 0:
            time.sleep(0.003)

    row, other = latency.measure({"waits": act, "not": lambda x: None}, 2500)
    assert len(calls) == 2500 + latency._WARM_UP
    assert row["p50"] < 1000 < 3000 <= row["p99"] <= row["p99.9"] <= row["largest"]
    assert (other["row"], other["calls"]) == ("not", 2500)
    assert other["p99"] < 1000


def test_command_writes_a_row_for_each(tmp_path, monkeypatch, capsys):
    for variable in ("SCOREREGS_SRPO", "SCOREREGS_CORL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(latency, "find_spec", lambda name: None)
    output = tmp_path / "latency.json"
    monkeypatch.setattr(
        latency.sys, "argv", ["latency", "--output", str(output), "--calls", "5", "--threads", "1"]
    )
    latency.main()
    rows = json.loads(output.read_text())["rows"]
    assert [row["row"] for row in rows] == [
        "ours, ONNX Runtime",
        "ours, ONNX Runtime, int8",
        "ours, ONNX Runtime with names and guard",
        "ours, PyTorch",
        "diffusion policy, 5 steps of DDIM",
    ]
    assert "| ours, PyTorch |" in capsys.readouterr().out


def test_our_rows_are_one_policy(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "find_spec", lambda name: None)
    found = latency.actors(tmp_path)
    x = np.random.default_rng(0).normal(size=OBSERVATION).astype(np.float32)
    expected = found["ours, PyTorch"](x)
    assert expected.shape == (ACTION,)
    (actions,) = found["ours, ONNX Runtime"](x)
    np.testing.assert_allclose(actions[0], expected, atol=1e-5)
    named = found["ours, ONNX Runtime with names and guard"](x)
    np.testing.assert_allclose(list(named.values()), expected, atol=1e-5)
    assert found["diffusion policy, 5 steps of DDIM"](x).shape == (1, ACTION)
    (rounded,) = found["ours, ONNX Runtime, int8"](x)
    np.testing.assert_allclose(rounded[0], expected, atol=0.05)
    assert not np.allclose(rounded[0], expected, atol=1e-5)
