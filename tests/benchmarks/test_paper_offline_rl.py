"""The paper's ablations and its diverging critic, on data of seconds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality.paper import __main__ as command
from benchmarks.quality.paper import figure_6, figure_8, figure_9, figure_10
from benchmarks.quality.paper.members import MOST_OUTSIDE, draw_members, members_table
from benchmarks.quality.paper.offline_rl import Budget, Runs, Variant, measure_variants
from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.scores.protocol import Protocol
from scoreregs_offline_rl import SweepGrid, sweep
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.training import monitor

PROTOCOL = Protocol(
    beta=0.1,
    critic_steps=4,
    behavior_steps=4,
    behavior_batch=32,
    behavior_width=16,
    policy_steps=4,
    episodes=2,
)
BUDGET = Budget(2, PROTOCOL)
VARIANTS = (
    Variant("noise", "uniform", {"weighting": "uniform"}),
    Variant("noise", "sigma2"),
    Variant("none", "sigma2", {"baseline": "none"}, beta=0.5),
    Variant("none", "cold", {"baseline": "none"}, beta=0.02),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    return path


@pytest.fixture(scope="module")
def measured(file, tmp_path_factory):
    runs = Runs((str(file),), tmp_path_factory.mktemp("runs"))
    return runs, measure_variants(BUDGET, 3, runs, VARIANTS)


class TestVariants:
    def test_each_is_a_row_of_each_seed(self, measured):
        rows = measured[1].tables["members"]
        found = list(zip(rows["series"], rows["place"], rows["beta"], rows["seed"], strict=True))
        assert sorted(found) == [
            ("noise", "sigma2", 0.1, 3),
            ("noise", "sigma2", 0.1, 4),
            ("noise", "uniform", 0.1, 3),
            ("noise", "uniform", 0.1, 4),
            ("none", "cold", 0.02, 3),
            ("none", "cold", 0.02, 4),
            ("none", "sigma2", 0.5, 3),
            ("none", "sigma2", 0.5, 4),
        ]
        assert set(rows["file"]) == {"swing"}
        assert len(set(rows["value"])) == len(found)

    def test_all_share_critics_and_behavior_models(self, measured):
        folder = measured[0].folder / "swing"
        shared, policies = folder / "protocol", sorted(folder.glob("*/policy"))
        assert len(policies) == 3
        for stage, count in (("critic", 1), ("behavior", 1), ("policy", 3)):
            files = [policy.parent / stage / "weights.safetensors" for policy in policies]
            assert len({file.read_bytes() for file in files}) == count
        for policy in policies:
            report = json.loads((policy.parent / "critic" / "report.json").read_text())
            trained = policy.parent == shared
            expected = (4, None) if trained else (0, str(shared))
            assert (report["steps"], report["source"]) == expected

    def test_one_is_the_sweep_of_its_setting_from_the_start(self, file, measured, tmp_path):
        config = PROTOCOL.config(file, 0)
        config = replace(config, policy=replace(config.policy, baseline="none"))
        alone = sweep(config, tmp_path / "alone", grid=SweepGrid((3, 4), (0.5, 0.02)))
        rows = measured[1].tables["members"]
        for place, beta in (("sigma2", 0), ("cold", 1)):
            chosen = [
                i
                for i, key in enumerate(zip(rows["series"], rows["place"], strict=True))
                if key == ("none", place)
            ]
            assert [rows["value"][i] for i in chosen] == alone.values[:, beta].tolist()
            assert [rows["outside"][i] for i in chosen] == alone.outside[:, beta].tolist()
        assert measured[1].numbers["files"][0]["data"] == alone.data

    def test_nothing_is_trained_twice(self, measured):
        runs, outcome = measured
        paths = sorted(runs.folder.rglob("*.safetensors"))
        before = [path.stat().st_mtime_ns for path in paths]
        fewer = measure_variants(BUDGET, 3, runs, VARIANTS[:2])
        assert measure_variants(BUDGET, 3, runs, VARIANTS) == outcome
        assert fewer.numbers == outcome.numbers
        assert sorted(runs.folder.rglob("*.safetensors")) == paths
        assert [path.stat().st_mtime_ns for path in paths] == before

    def test_clones_are_those_of_the_stage(self, file, measured, tmp_path):
        """Nothing but their own stage is trained for them."""
        grid, config = SweepGrid((3, 4), (7.0,)), replace(PROTOCOL, critic_steps=9).config(file, 0)
        found = sweep(config, tmp_path, grid=grid, stages=("critic", "cloning"))
        assert measured[1].numbers["files"][0]["cloning"] == found.values[:, 0].tolist()
        folder = measured[0].folder / "swing" / "cloning"
        assert [path.parent.name for path in folder.glob("*/report.json")] == ["cloning"]

    def test_checks_of_the_shared_models_are_counted(self, measured):
        result = json.loads((measured[0].folder / "swing/protocol/result.json").read_text())
        health = [line["health"] for line in result["members"].values()]
        for stage in ("critic", "behavior"):
            passed = sum(its[stage]["measured"] <= its[stage]["limit"] for its in health)
            assert measured[1].numbers["files"][0]["passed"][stage] == passed


def outcome(**changes) -> Outcome:
    file: dict[str, Any] = {"file": "hopper", "unit": "score", "data": 62.84, "seeds": 2}
    file |= {"cloning": [20.0, 30.0], "passed": {"critic": 2, "behavior": 1}, **changes}
    members = {
        "file": ["hopper"] * 3,
        "series": ["a", "a", "b"],
        "place": ["x", "x", "y"],
        "beta": [0.1] * 3,
        "seed": [0, 1, 0],
        "value": [1.0, 4.0, 7.0],
        "outside": [0.1, 0.3, 1.0],
    }
    return Outcome({"files": [file]}, {"members": members})


class TestTable:
    SERIES, PLACES = {"a": "first", "b": "second"}, {"x": "X", "y": "Y"}

    def test_has_means_ranges_and_shares(self):
        _, _, first, second, _, checks = members_table(
            outcome(), self.SERIES, self.PLACES
        ).splitlines()
        start = "| hopper | 62.8 | 25.0 (20.0 to 30.0) |"
        assert first == f"{start} first | 2.5 (1.0 to 4.0), 20% | – |"
        assert second == "| | | | second | – | 7.0, 100% |"
        assert checks == "hopper: 2 of 2 critics and 1 of 2 behavior models pass their checks."

    def test_has_dashes_without_an_environment(self):
        lines = members_table(outcome(data=None, cloning=[]), self.SERIES, self.PLACES).splitlines()
        assert lines[2].startswith("| hopper | – | – | first |")


class TestPicture:
    LABELS = {"a": "first", "b": "second"}, {"x": "X", "y": "Y"}

    @pytest.mark.parametrize("cloning", [-2.0, 62.7, 63.5])
    def test_every_line_and_range_has_room(self, cloning):
        figure = draw_members(outcome(cloning=[cloning]), *self.LABELS, "place")
        above = figure.axes[0]
        low, high = above.get_ylim()
        room = 0.05 * (high - low)
        assert high - max(cloning, 62.84) > room
        assert min(cloning, 1.0) - low > room

    def test_the_share_that_is_allowed_is_that_of_the_check(self, measured):
        result = json.loads((measured[0].folder / "swing/protocol/result.json").read_text())
        limits = {line["health"]["policy"]["limit"] for name, line in result["members"].items()}
        assert limits == {MOST_OUTSIDE / 100}


@pytest.mark.parametrize("figure", [figure_6, figure_9, figure_10])
def test_every_variant_has_a_place_in_the_table(figure, monkeypatch):
    seen = []
    monkeypatch.setattr(figure, "measure_variants", lambda *arguments: seen.extend(arguments[3]))
    figure.measure(figure.QUICK, 0, Runs((), Path()))
    cells = {(variant.series, variant.place) for variant in seen}
    assert len(cells) == len(seen)
    assert {series for series, _ in cells} == set(figure.SERIES)
    assert {place for _, place in cells} == set(figure.PLACES)
    settings = {(repr(sorted(variant.changes.items())), variant.beta) for variant in seen}
    assert len(settings) == len(seen)


@pytest.fixture(scope="module")
def diverged():
    return figure_8.measure(figure_8.Budget(seeds=1, steps=350, log_every=50), 0)


class TestDivergence:
    def test_the_check_notices_the_critic_that_diverges_and_no_other(self, diverged):
        rows = {row["setting"]: row for row in diverged.numbers["rows"]}
        bad, *good = rows.values()
        assert bad["noticed_at"] is not None
        assert bad["largest_q"] > diverged.numbers["limit"]
        assert "lower critic.expectile or critic.learning_rate" in bad["warning"]
        assert all(row["noticed_at"] is row["warning"] is None for row in good)

    def test_a_critic_is_noticed_by_its_warning_alone(self, monkeypatch):
        """Without it a critic that leaves the bound is not said to be noticed."""
        monkeypatch.setattr(monitor.logger, "warning", lambda *words: None)
        monkeypatch.setattr(figure_8, "SETTINGS", dict([next(iter(figure_8.SETTINGS.items()))]))
        found = figure_8.measure(figure_8.Budget(seeds=1, steps=250, log_every=50), 0)
        assert max(found.tables["curves"]["largest_q"]) > found.numbers["limit"]
        assert found.numbers["rows"][0]["noticed_at"] is None

    def test_a_warning_of_another_kind_is_refused(self):
        with pytest.raises(ValueError, match="got 'disk is full', expected a warning"):
            figure_8._step("disk is full")

    def test_it_is_noticed_at_the_first_check_above_the_limit(self, diverged):
        curves = diverged.tables["curves"]
        points = zip(curves["setting"], curves["step"], curves["largest_q"], strict=True)
        first = diverged.numbers["rows"][0]
        of_first = [(step, q) for setting, step, q in points if setting == first["setting"]]
        assert [step for step, _ in of_first] == [50, 100, 150, 200, 250, 300, 350]
        limit = diverged.numbers["limit"]
        assert first["noticed_at"] == min(step for step, q in of_first if q > limit)

    def test_the_picture_marks_the_warning(self, diverged):
        [axis] = figure_8.draw(diverged)["figure-8"].axes
        [marks] = [line for line in axis.lines if line.get_label() == "warning logged"]
        step = diverged.numbers["rows"][0]["noticed_at"]
        curves = diverged.tables["curves"]
        largest_q = curves["largest_q"][curves["step"].index(step)]
        assert np.asarray(marks.get_xydata()).tolist() == [[step, largest_q]]

    def test_the_table_has_the_remedy(self, diverged):
        table = figure_8.table(diverged)
        assert "| 1 of 1 |" in table.splitlines()[2]
        assert all("| 0 of 1 | – |" in line for line in table.splitlines()[3:6])
        assert "the critic diverges; lower critic.expectile" in table


class TestCommand:
    def run(self, file, tmp_path, monkeypatch, *words):
        monkeypatch.setattr(figure_9, "QUICK", replace(BUDGET, seeds=1))
        folders = ["--results", str(tmp_path / "results"), "--pictures", str(tmp_path / "pictures")]
        command.main(["figure-9", "--quick", "--data", str(file), *words, *folders])
        return json.loads((tmp_path / "results" / "figure-9.json").read_text())

    def test_it_keeps_its_runs_and_names_no_folder(self, file, tmp_path, monkeypatch):
        runs = tmp_path / "kept"
        about = self.run(file, tmp_path, monkeypatch, "--run-dir", str(runs))
        assert (runs / "swing" / "protocol" / "result.json").exists()
        assert str(tmp_path) not in json.dumps(about)
        assert "figure-9 --quick --data swing.hdf5 --run-dir kept" in about["command"]
        assert about["numbers"]["files"][0]["file"] == "swing"
