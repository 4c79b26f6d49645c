"""The confusion matrix: a small one in full, its bookkeeping, and the committed one's promises."""

import csv
import io
import json
from pathlib import Path

import pytest

from benchmarks.quality.confusion.__main__ import Arguments, measure, plan
from benchmarks.quality.confusion.matrix import as_csv, markdown, missing_map, summary
from benchmarks.quality.confusion.networks import DATA, RANGES, settings
from tests.pages import REPOSITORY

COMMITTED = REPOSITORY / "benchmarks" / "results" / "confusion.json"


def arguments(folder: Path, **changes) -> Arguments:
    small = {
        "data": ("crescents",),
        "schedules": ("VP", "rectified flow"),
        "ranges": ("[-1, 1]",),
        "claimed_ranges": ("[-1, 1]", "[0, 255]"),
        "steps": 1000,
        "rows": 256,
    }
    return Arguments(folder, folder / "confusion.json", **small | changes)


@pytest.mark.slow
def test_a_small_matrix(tmp_path, monkeypatch):
    """Two predictions, two schedules and two ranges, by chance: no wrong claim is ok."""
    known = {"epsilon": None, "v_prediction": None}
    monkeypatch.setattr("benchmarks.quality.confusion.networks.PREDICTIONS", known)
    chosen = arguments(tmp_path, cells=10)
    cells = measure(chosen)
    assert len(cells) == 4 + 6
    row = summary(cells)["crescents"]
    assert row["wrong claims ok"] == 0
    assert row["right claims ok"] == row["right claims"] == 4
    assert row["named right"] >= 9
    again = measure(chosen)
    assert again == cells
    rows = list(csv.DictReader(io.StringIO(as_csv(cells))))
    assert sum(int(row["named"]) for row in rows) == row["named right"]
    assert "| crescents | 10 |" in markdown(summary(cells))


def test_the_plan_has_every_cell_and_right_claims_first(tmp_path):
    chosen = arguments(tmp_path)
    cells = plan(chosen)
    assert len(cells) == len(set(cells)) == 5 * 2 * 1 * 5 * 2 * 2
    assert all(true == claim for _, true, claim in cells[:10])
    assert plan(chosen) == cells
    drawn = plan(arguments(tmp_path, networks=3))
    assert [cell[:2] for cell in drawn[:3]] == [cell[:2] for cell in cells[:3]]
    assert len(drawn) == 3 * 5 * 2 * 2


@pytest.mark.parametrize("data", DATA)
def test_maps_between_ranges_are_exact(data):
    x = DATA[data](64, 0)
    assert x.abs().max() < 1.5
    for true in RANGES:
        for claim in RANGES:
            given = RANGES[claim](x)
            mapped = missing_map(true, claim)(given)
            assert (mapped - RANGES[true](x)).abs().max() < 1e-3 * RANGES[true](x).abs().max()


def test_settings_are_every_combination():
    assert len(settings(("VP", "VE"), ("[0, 1]",))) == 10


def test_the_committed_matrix_keeps_its_promise():
    if not COMMITTED.exists():
        pytest.skip("not measured yet: python -m benchmarks.quality.confusion takes a while")
    committed = json.loads(COMMITTED.read_text())
    for row in committed["rows"].values():
        assert row["share"] >= 0.98
        assert row["wrong claims ok"] == 0
    lines = COMMITTED.with_suffix(".csv").read_text().splitlines()
    assert len(lines) == committed["cells"] + 1
