"""The benchmark of kept memory, on a few steps."""

import json
import os

import pytest

from benchmarks.speed import freed_memory

if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
    pytest.skip("this is not the GNU C library", allow_module_level=True)


def test_command_writes_both_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    output = tmp_path / "freed.json"
    options = ["--output", str(output), "--cases", "policy", "--seconds", "0.5", "--turns", "1"]
    monkeypatch.setattr(freed_memory.sys, "argv", ["freed_memory", *options, "--threads", "1"])
    freed_memory.main()
    without, kept = json.loads(output.read_text())["rows"]
    assert (without["kept"], kept["kept"]) == (False, True)
    # How many faults there are without it, the heap's order decides: test_memory.py counts them.
    assert all(row["case"] == "policy" and row["milliseconds"] > 0 for row in (without, kept))
    assert "| policy | yes |" in capsys.readouterr().out
