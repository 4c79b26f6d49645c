"""The score benchmark on the embedded data, shrunk to seconds."""

from pathlib import Path

import pytest

from benchmarks.quality.scores.__main__ import Arguments, rows_of
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.table import markdown

PROTOCOL = Protocol(
    beta=0.1, critic_steps=4, behavior_steps=4, behavior_batch=32, policy_steps=4, episodes=2
)


@pytest.fixture
def arguments(tmp_path: Path) -> Arguments:
    data = (Path("pendulum-swingup"),)
    return Arguments(data, tmp_path / "runs", tmp_path / "scores.json", protocol=PROTOCOL)


def test_every_method_has_a_row_and_is_trained_once(arguments: Arguments) -> None:
    rows = rows_of(arguments, arguments.data[0], seed=1)
    assert [row["method"] for row in rows] == [
        "data",
        "advantage-weighted actor",
        "score-regularised policy",
        "cloning",
    ]
    assert all(len(row["returns"]) == 2 for row in rows[1:])
    clone = arguments.run_dir / "pendulum-swingup" / "1" / "cloning" / "baseline" / "report.json"
    trained = clone.stat().st_mtime_ns
    assert rows_of(arguments, arguments.data[0], seed=1) == rows
    assert clone.stat().st_mtime_ns == trained


def test_cloning_is_not_the_weighted_actor(arguments: Arguments) -> None:
    rows = {row["method"]: row for row in rows_of(arguments, arguments.data[0], seed=1)}
    assert rows["cloning"]["returns"] != rows["advantage-weighted actor"]["returns"]


def test_the_table_has_means_and_ranges() -> None:
    rows = [{"file": "a", "method": "cloning", "score": score} for score in (1.0, 2.0, 6.0)]
    line = markdown([*rows, {"file": "a", "method": "data", "score": 5.0}]).splitlines()[-1]
    assert line == "| a | 5.0 | 3.0 (1.0 to 6.0) | – | – | – |"
