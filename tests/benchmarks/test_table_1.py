"""The runner of the paper's Table 1, on files of D4RL's layout and with steps of seconds."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.paper.outcome import Outcome, Table, load
from benchmarks.quality.table_1 import runs
from benchmarks.quality.table_1.__main__ import main
from benchmarks.quality.table_1.published import AVERAGES, METHODS, PUBLISHED, family
from benchmarks.quality.table_1.table import markdown, of_task
from scoreregs_offline_rl import DataError, SweepTable, preset
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.tasks import PAPER_TASKS

ROOT = Path(__file__).parents[2]
HOPPER, WALKER, ANTMAZE = "hopper-medium-v2", "walker2d-medium-v2", "antmaze-umaze-v2"
FULL = Outcome({"budget": {"scale": 1.0, "seeds": [0, 1], "episodes": 20}, "missing": {}}, {})


def outcome(scores, **numbers):
    rows = [(task, score) for task, found in scores.items() for score in found]
    columns: Table = {"task": [task for task, _ in rows], "score": [score for _, score in rows]}
    return Outcome({**FULL.numbers, **numbers}, {"scores": columns})


def cells(table, label):
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {label} |"))
    return line.strip("| ").split(" | ")


def small(data, name):
    """The preset with a behavior model of seconds."""
    config = preset(data, name)
    return replace(config, behavior=replace(config.behavior, batch_size=32, width=16))


def write(path, observation, action, rows=300):
    """Random episodes of 100 rows."""
    random = np.random.default_rng(0)
    arrays = {
        "observations": random.normal(size=(rows, observation)).astype(np.float32),
        "actions": random.uniform(-1, 1, (rows, action)).astype(np.float32),
        "rewards": random.normal(size=rows).astype(np.float32),
        "terminals": np.zeros(rows, bool),
        "timeouts": np.arange(rows) % 100 == 99,
    }
    save_hdf5(path, arrays, "")


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(runs, "preset", small)
    write(tmp_path / "data" / "hopper_medium-v2.hdf5", 11, 3)
    write(tmp_path / "data" / f"{WALKER}.hdf5", 17, 6)
    sizes = ["--seeds", "3", "4", "--scale", "2e-6", "--episodes", "2"]
    return ["--run-dir", str(tmp_path / "runs"), *sizes, "--tasks"]


@pytest.fixture
def without_antmaze(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    monkeypatch.setitem(sys.modules, "gymnasium_robotics.envs.maze", None)


class Killing(runs.Bars):
    """Bars of a run that is killed in the second task's behavior stage."""

    stages = 0

    def __call__(self, stage, step, steps, metrics):
        if (stage, step) == ("behavior", 1):
            Killing.stages += 1
            if Killing.stages == 2:
                os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("without_antmaze")
def test_interrupted_gathered_and_drawn_again(words, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(runs, "Bars", Killing)
        with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
            main([*words, HOPPER, WALKER])
    told = capsys.readouterr().err
    assert "interrupted, saved the behavior stage at step 2 of 4" in told
    finished = tmp_path / "runs" / HOPPER / "policy" / "weights.safetensors"
    before = finished.stat().st_mtime_ns
    with pytest.raises(SystemExit) as stopped:
        main([*words, HOPPER, ANTMAZE, WALKER])
    assert stopped.value.code == 1
    assert finished.stat().st_mtime_ns == before

    printed = capsys.readouterr().out
    told, table = printed.split(f"{HOPPER}, beta 0.05")
    reason = "antmaze-umaze-v2: got no package 'gymnasium-robotics'"
    assert f"not run: {reason}" in told
    assert f"Not run: {reason}" in table
    assert "does not compare with the paper's" in table
    text = (tmp_path / "runs" / "table-1.json").read_text()
    assert str(tmp_path) not in text
    assert {"command", "versions", "machine", "numbers"} <= set(json.loads(text))

    found = load(tmp_path / "runs", "table-1")
    for task in (HOPPER, WALKER):
        values = SweepTable.load(tmp_path / "runs" / task).values[:, 0]
        assert of_task(found, "scores", task)["score"] == pytest.approx(values, rel=1e-4)
        curve = of_task(found, "curves", task)
        assert curve["step"] == [1, 2, 1, 2]
        assert curve["score"][1::2] == pytest.approx(values, rel=1e-4)
        mean = values.mean()
        assert cells(table, task)[-2] == f"{mean:.1f} ± {values.std(ddof=1):.1f}"
        assert cells(table, task)[-1] == f"{mean - PUBLISHED[task].srpo:+.1f}"

    picture = tmp_path / "runs" / "figures-4-and-11.png"
    drawn = picture.read_bytes()
    assert drawn.startswith(b"\x89PNG")
    picture.unlink()
    with pytest.raises(SystemExit):
        main(["--run-dir", str(tmp_path / "runs"), "--redraw"])
    assert picture.read_bytes() == drawn
    again = capsys.readouterr().out
    assert again.split("wrote")[0].strip() in printed


@pytest.mark.usefixtures("without_antmaze")
def test_data_that_cannot_be_had_is_told_before_anything_is_trained(
    words, tmp_path, monkeypatch, capsys
):
    def refuse(task, **_):
        raise DataError("got no file from 1 URL(s)", source=task.file)

    monkeypatch.setattr(runs, "d4rl_file", refuse)
    with pytest.raises(SystemExit, match="2"):
        main([*words, HOPPER, ANTMAZE])
    printed, told = capsys.readouterr()
    assert "error: got no task that can be run here" in told
    assert "not run: hopper-medium-v2: hopper_medium-v2.hdf5: got no file" in printed
    assert "not run: antmaze-umaze-v2: got no package" in printed
    assert not (tmp_path / "runs").exists()


def test_a_damaged_file_is_an_obstacle(words, tmp_path):
    (tmp_path / "data" / "hopper_medium-v2.hdf5").write_bytes(b"cut")
    assert "hopper_medium-v2.hdf5" in (runs.obstacle(HOPPER) or "")
    assert runs.obstacle(WALKER) is None


def test_antmaze_is_evaluated_where_it_is_installed(words, tmp_path, capsys):
    pytest.importorskip("gymnasium_robotics", reason="needs the extra `antmaze`")
    write(tmp_path / "data" / PAPER_TASKS[ANTMAZE].file, 29, 8)
    # An episode is hundreds of steps of an ant.
    words[words.index("--episodes") + 1] = "1"
    main([*words, ANTMAZE])
    # Too little training to get anywhere.
    assert cells(capsys.readouterr().out, ANTMAZE)[-2:] == ["0.0 ± 0.0", "-97.1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--tasks", HOPPER, "hoper-medium-v2"], "got the tasks hoper-medium-v2, expected some of"),
        (["--tasks"], "got --tasks without a value"),
        (["--tasks", HOPPER, HOPPER], f"got --tasks {HOPPER} {HOPPER}, expected at least one"),
        (["--seeds"], "got --seeds without a value"),
        (["--seeds", "1", "1"], "got --seeds 1 1, expected at least one, and each once"),
        (["--seeds", "0", "-1"], "got --seeds -1, expected none below 0"),
        (["--scale", "0"], "got --scale 0.0, expected a share"),
        (["--scale", "2"], "got --scale 2.0, expected a share"),
        (["--episodes", "0"], "got --episodes 0, expected at least 1"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, capsys, changes, message):
    with pytest.raises(SystemExit, match="2"):
        main(["--run-dir", str(tmp_path / "runs"), *changes])
    assert f"error: {message}" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


class TestBudget:
    def test_the_whole_one_is_that_of_appendix_c(self):
        config = runs.Budget().config("walker2d-medium-replay-v2")
        stages = config.critic, config.behavior, config.policy
        assert [stage.steps for stage in stages] == [1_500_000, 2_000_000, 1_000_000]
        assert [stage.batch_size for stage in stages] == [256, 2048, 256]
        assert [stage.learning_rate for stage in stages] == [3e-4] * 3
        assert (config.beta, config.critic.expectile, config.policy.layers) == (0.5, 0.7, 2)
        assert config.evaluation.environment == "Walker2d-v4"
        assert (config.evaluation.episodes, config.evaluation.every) == (20, 50_000)
        assert len(runs.Budget().seeds) == 6

    def test_antmaze_has_its_own(self):
        config = runs.Budget().config("antmaze-large-play-v2")
        assert (config.beta, config.critic.expectile, config.policy.layers) == (0.06, 0.9, 4)
        assert config.evaluation.environment == "antmaze-large-play-v2"

    @pytest.mark.parametrize(
        ("scale", "steps", "every"),
        [(0.01, (15_000, 20_000, 10_000), 500), (0.03, (45_000, 60_000, 30_000), 1000),
         (1e-9, (1, 1, 1), 1)],
    )  # fmt: skip
    def test_a_share_of_it(self, scale, steps, every):
        config = runs.Budget(scale=scale).config(HOPPER)
        assert (config.critic.steps, config.behavior.steps, config.policy.steps) == steps
        assert config.evaluation.every == every


class TestTable:
    def test_the_tasks_are_the_papers(self):
        assert set(PUBLISHED) == set(PAPER_TASKS)
        assert all(len(line.others) == len(METHODS) for line in PUBLISHED.values())

    @pytest.mark.parametrize("name", AVERAGES)
    def test_columns_have_the_papers_averages(self, name):
        """Those of three columns of the paper are not the means of its own lines."""
        lines = [line for task, line in PUBLISHED.items() if family(task) == name]
        for index, method in enumerate((*METHODS, "SRPO")):
            printed = (*AVERAGES[name].others, AVERAGES[name].srpo)[index]
            column = [(*line.others, line.srpo)[index] for line in lines]
            wrong = name == "Locomotion" and method in ("BEAR", "Diffuser", "Diffusion-QL")
            if printed is None:
                assert column == [None] * len(lines)
            elif not wrong:
                # Some are rounded, some are cut.
                assert 0 <= np.mean(np.array(column, float)) - printed + 0.05 < 0.15

    def test_mean_spread_and_deviation(self):
        table = markdown(outcome({HOPPER: [90.0, 100.0], WALKER: [84.4]}))
        others = [f"{other:.1f}" for other in PUBLISHED[HOPPER].others]
        assert cells(table, HOPPER) == [HOPPER, *others, "95.5 ± 2.0", "95.0 ± 7.1", "-0.5"]
        assert cells(table, WALKER)[-2:] == ["84.4", "+0.0"]
        assert cells(table, ANTMAZE)[5] == "–"
        assert cells(table, ANTMAZE)[-3:] == ["97.1 ± 2.7", "–", "–"]
        assert cells(table, "Average (Locomotion)")[-3:] == ["87.1", "–", "–"]
        assert "compare" not in table

    def test_an_average_needs_all_its_tasks(self):
        scores = {task: [line.srpo + 1.0] for task, line in PUBLISHED.items()}
        table = markdown(outcome(scores))
        assert cells(table, "Average (Locomotion)")[-2:] == ["88.1", "+1.0"]
        assert cells(table, "Average (AntMaze)")[-2:] == ["74.7", "+1.1"]
        del scores[ANTMAZE]
        table = markdown(outcome(scores))
        assert cells(table, "Average (Locomotion)")[-2:] == ["88.1", "+1.0"]
        assert cells(table, "Average (AntMaze)")[-2:] == ["–", "–"]

    def test_a_share_of_the_steps_is_said(self):
        budget = {"scale": 0.01, "seeds": [0], "episodes": 5}
        table = markdown(outcome({HOPPER: [1.0]}, budget=budget, missing={ANTMAZE: "why"}))
        assert "1 % of the paper's steps: our column does not compare" in table
        assert "1 seed(s), 5 episodes" in table
        assert table.endswith("Not run: antmaze-umaze-v2: why")


def test_the_page_has_the_command_and_says_what_is_measured():
    page = (ROOT / "docs/paper/table-1.md").read_text()
    assert "python -m benchmarks.quality.table_1 --run-dir" in page
    assert "Not measured." in page
