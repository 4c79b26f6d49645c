"""Comparison of runs: grouping, numbers by hand, the table and the picture."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.statistics import bootstrap_interval
from scoreregs_offline_rl.runs import comparison_plot
from scoreregs_offline_rl.runs.comparison import FinishedRun, compare_runs
from scoreregs_offline_rl.runs.comparison_plot import draw_comparison
from scoreregs_offline_rl.tasks import normalized_score
from tests.offline_rl.rl_runs import write_run

MEANS = (-200.0, -180.0, -400.0, -160.0)


@pytest.fixture
def runs(tmp_path):
    """Four seeds of one task and two of another, out of order."""
    hopper = {"policy": [3000.0, 3100.0], "awr": [2000.0, 2100.0]}
    return [
        write_run(tmp_path / "h1", data="hopper", environment="Hopper-v4", seed=1, returns=hopper),
        *(
            write_run(
                tmp_path / f"p{seed}",
                seed=seed,
                returns={"policy": [mean - 10, mean + 10], "awr": [-500.0, -500.0]},
            )
            for seed, mean in reversed(list(enumerate(MEANS)))
        ),
        write_run(tmp_path / "h0", data="hopper", environment="Hopper-v4", returns=hopper),
    ]


def rows_by_name(comparison):
    return {(r.task, r.method): r for r in (*comparison.rows, *comparison.overall)}


def test_numbers_by_hand(runs):
    rows = rows_by_name(compare_runs(runs))
    scores = [normalized_score(mean, "Pendulum-v1") for mean in MEANS]
    policy = rows["swing", "policy"]
    assert policy.scores == pytest.approx(scores)
    assert policy.mean == pytest.approx(np.mean(scores))
    # The middle two of four.
    assert policy.iqm == pytest.approx(normalized_score(-190.0, "Pendulum-v1"))
    assert policy.interval == bootstrap_interval([scores])
    assert rows["swing", "data"].scores == (20.0,)
    assert rows["swing", "data"].interval is None
    assert len(rows["hopper", "policy"].scores) == 2
    hopper = [normalized_score(3050.0, "Hopper-v4")] * 2
    everything = rows["all tasks", "policy"]
    assert sorted(everything.scores) == pytest.approx(sorted([*scores, *hopper]))
    assert everything.interval == bootstrap_interval([hopper, scores])
    assert rows["all tasks", "data"].scores == (20.0, 20.0)


def test_a_single_seed_has_the_interval_of_its_episodes(tmp_path):
    returns = [-100.0, -200.0, -600.0]
    folder = write_run(tmp_path / "a", returns={"policy": returns, "awr": [-1.0]})
    rows = rows_by_name(compare_runs([folder]))
    found = rows["swing", "policy"].interval
    episodes = FinishedRun.load(folder).evaluations["policy"].interval
    assert episodes is not None
    assert found is not None
    ends = [normalized_score(end, "Pendulum-v1") for end in episodes]
    assert (found.low, found.high) == pytest.approx(tuple(ends))
    assert rows["swing", "awr"].interval is None
    assert not compare_runs([folder]).overall


def test_runs_that_differ_in_a_setting_are_not_averaged(tmp_path):
    folders = [
        write_run(tmp_path / f"{beta}-{seed}", seed=seed, beta=beta)
        for beta in (0.1, 0.5)
        for seed in (0, 1)
    ]
    comparison = compare_runs(folders)
    assert list(comparison.runs) == ["swing (beta 0.1)", "swing (beta 0.5)"]
    assert [len(row.scores) for row in comparison.rows if row.method == "policy"] == [2, 2]
    assert not comparison.overall


def test_an_id_is_a_task_as_a_whole(tmp_path):
    """mujoco/hopper/medium-v0 and mujoco/walker2d/medium-v0 are two."""
    folders = []
    for number, name in enumerate(("mujoco/hopper/medium-v0", "mujoco/walker2d/medium-v0")):
        folders.append(write_run(tmp_path / str(number)))
        config = json.loads((folders[-1] / "config.json").read_text())
        (folders[-1] / "config.json").write_text(json.dumps(config | {"data": name}))
    assert set(compare_runs(folders).runs) == {
        "mujoco/hopper/medium-v0",
        "mujoco/walker2d/medium-v0",
    }


def test_returns_where_there_is_no_score(tmp_path):
    folders = [
        write_run(
            tmp_path / f"{seed}",
            environment="Ant-v5",
            data="ant",
            seed=seed,
            data_score=None,
            returns={"policy": [3000.0 + seed, 3000.0 + seed], "awr": [1.0, 3.0]},
        )
        for seed in range(2)
    ]
    rows = rows_by_name(compare_runs(folders))
    assert rows["ant", "policy"].scores == (3000.0, 3001.0)
    assert rows["ant", "data"].mean == -900.0
    assert not rows["ant", "policy"].normalized
    assert "3000.5 r" in compare_runs(folders).table()


def test_a_run_without_a_baseline(tmp_path):
    folder = write_run(tmp_path / "a", returns={"policy": [-200.0, -300.0]})
    assert {row.method for row in compare_runs([folder]).rows} == {"policy", "data"}


def test_table(runs):
    lines = compare_runs(runs).table().splitlines()
    assert len({len(line) for line in lines[:11]}) == 1
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[:11]]
    assert cells[0] == ["task", "method", "runs", "mean", "IQM", "95 % interval"]
    assert cells[5][:5] == ["swing", "SRPO", "4", "92.1", "96.3"]
    assert cells[7] == ["swing", "data", "", "20.0", "", ""]
    assert lines[-1].startswith("Normalised scores. IQM")


def test_picture(runs, tmp_path, monkeypatch):
    """Every task, method and stage is named in it, and the file is whole or absent."""
    path = tmp_path / "pictures" / "comparison.png"
    comparison = compare_runs(runs)
    draw_comparison(comparison, path)
    assert imread(path).shape[1] == 1320
    assert [file.name for file in path.parent.iterdir()] == ["comparison.png"]

    def broken(*arguments):
        raise RuntimeError("cut")

    monkeypatch.setattr(comparison_plot, "_draw_curves", broken)
    with pytest.raises(RuntimeError):
        draw_comparison(comparison, tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()


def test_what_the_picture_shows(runs, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: None)
    draw_comparison(compare_runs(runs), tmp_path / "a.png")
    scores, *curves = (axis for part in figures[0].subfigs for axis in part.axes)
    ticks = [label.get_text() for label in scores.get_yticklabels()]
    assert ticks == ["hopper\n2 seeds", "swing\n4 seeds", "all tasks"]
    legend = [text.get_text() for text in scores.get_legend().get_texts()]
    assert legend == ["SRPO", "advantage-weighted regression", "data"]
    titles = [axis.get_title().split(":")[0] for axis in curves]
    assert titles == ["critic", "behavior", "awr", "policy"]
    assert [len(axis.lines) for axis in curves] == [6] * 4
    tasks = [text.get_text() for text in figures[0].subfigs[-1].legends[0].get_texts()]
    assert tasks == ["hopper", "swing"]
    np.testing.assert_array_equal(curves[0].lines[0].get_xdata(), [10, 20, 30, 40, 50])


def test_a_picture_without_metrics(tmp_path):
    folder = write_run(tmp_path / "a", metrics=False)
    draw_comparison(compare_runs([folder]), tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_what_cannot_be_compared(tmp_path):
    with pytest.raises(ArgumentError, match="no run directories"):
        compare_runs([])
    with pytest.raises(RunError, match=r"without a result\.json.*let `train` go on"):
        compare_runs([tmp_path])
    first = write_run(tmp_path / "a", seed=3)
    with pytest.raises(ArgumentError, match=r"seed 3 of swing twice.*/a and .*/a"):
        compare_runs([first, first])
    (first / "critic/metrics.jsonl").write_text('{"step": 1')
    with pytest.raises(RunError, match=r"metrics\.jsonl"):
        compare_runs([first])
    (first / "result.json").write_text('{"policy": null, "awr": null, "data": "swing"}')
    with pytest.raises(RunError, match=r"were not evaluated.*--evaluation\.environment"):
        compare_runs([first])
    (first / "result.json").write_text('{"policy": {"returns": [1.0]}}')
    with pytest.raises(RunError, match="environment"):
        compare_runs([first])
