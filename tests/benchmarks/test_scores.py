"""The score benchmark on the embedded data, shrunk to seconds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.quality.scores.__main__ import Arguments, main, rows_of
from benchmarks.quality.scores.methods import run_ours
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.selection import selecting_policy
from benchmarks.quality.scores.table import METHODS, markdown
from benchmarks.quality.time_to_score.settings import PAPER_CODE
from scoreregs_offline_rl import BehaviorStage, load_models, train

PROTOCOL = Protocol(
    beta=0.1,
    critic_steps=4,
    behavior_steps=4,
    behavior_batch=32,
    behavior_width=16,
    policy_steps=4,
    episodes=2,
    candidates=4,
    selection_episodes=1,
)


@pytest.fixture
def arguments(tmp_path: Path) -> Arguments:
    data = (Path("pendulum-swingup"),)
    return Arguments(data, tmp_path / "runs", tmp_path / "scores.json", protocol=PROTOCOL)


def test_every_method_has_a_row_and_is_trained_once(arguments: Arguments) -> None:
    rows = rows_of(arguments, arguments.data[0], seed=1)
    assert [row["method"] for row in rows] == [
        "data",
        "cloning",
        "advantage-weighted regression",
        "TD3+BC",
        "SRPO",
        "selection among behavior samples",
    ]
    assert {row["method"] for row in rows} | {PAPER_CODE} == set(METHODS)
    assert [len(row["returns"]) for row in rows[1:]] == [2, 2, 2, 2, 1]
    assert [row["episodes"] for row in rows[1:]] == [2, 2, 2, 2, 1]
    assert len({tuple(row["returns"]) for row in rows[1:]}) == 5
    folder = arguments.run_dir / "pendulum-swingup" / "1"
    kept = [*folder.rglob("*.safetensors"), folder / "selection.json"]
    before = [path.stat().st_mtime_ns for path in kept]
    assert rows_of(arguments, arguments.data[0], seed=1) == rows
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_a_policy_has_the_time_and_the_checks_of_what_it_builds_on(arguments: Arguments) -> None:
    folder = arguments.run_dir / "run"
    rows = {row["method"]: row for row in run_ours(PROTOCOL, arguments.data[0], 0, folder)}
    result = json.loads((folder / "result.json").read_text())
    seconds = {name: report["seconds"] for name, report in result["stages"].items()}
    used = {
        "cloning": ["cloning"],
        "advantage-weighted regression": ["critic", "awr"],
        "TD3+BC": ["td3_bc"],
        "SRPO": ["critic", "behavior", "policy"],
    }
    for method, stages in used.items():
        assert rows[method]["seconds"] == pytest.approx(sum(seconds[name] for name in stages))
        checks = {name: result["health"][name] for name in stages if name in result["health"]}
        assert rows[method]["health"] == checks
    assert list(rows["SRPO"]["health"]) == ["critic", "behavior", "policy"]


def test_selection_has_the_scales_of_our_run(arguments: Arguments) -> None:
    """The critic likes large actions: the best sample is clipped, and the bound is 2."""
    folder = arguments.run_dir / "run"
    train(PROTOCOL.config(arguments.data[0], seed=0), folder)
    models, seen = load_models(folder), []
    behavior = models.stages["behavior"]
    assert isinstance(behavior, BehaviorStage)
    behavior.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    models.critic.target_q.mean = lambda action, observation: action[:, 0]
    observations = np.array([[1.0, 0.0, 4.0], [0.0, -1.0, -2.0]])
    actions = selecting_policy(models, candidates=64)(observations)
    np.testing.assert_array_equal(actions, [[2.0], [2.0]])
    scaled = models.policies["policy"].observation_scaling(torch.tensor(observations).float())
    assert len(seen) == 15
    assert all(given.equal(scaled.repeat_interleave(64, dim=0)) for given in seen)


def test_td3_bc_has_as_many_updates_as_our_networks_together() -> None:
    protocol = replace(PROTOCOL, critic_steps=10, behavior_steps=6, policy_steps=8)
    config = protocol.config(Path("pendulum-swingup"), seed=5).td3_bc
    assert config.steps == 16
    assert config.steps + config.steps // config.policy_every == 10 + 6 + 8


def test_the_table_has_means_and_ranges() -> None:
    rows = [{"file": "a", "method": "cloning", "score": score} for score in (1.0, 2.0, 6.0)]
    line = markdown([*rows, {"file": "a", "method": "data", "score": 5.0}]).splitlines()[-1]
    assert "| Data | Cloning | Advantage-weighted regression | TD3+BC |" in markdown(rows)
    assert line == "| a | 5.0 | 3.0 (1.0 to 6.0) | – | – | – | – | – |"


@pytest.mark.parametrize("name", ["scores-medium", "scores-medium-expert"])
def test_the_page_of_results_has_the_table_of_the_kept_ones(name: str) -> None:
    """Their methods have the names of older versions."""
    folder = Path(__file__).resolve().parents[2] / "benchmarks/results"
    lines = markdown(json.loads((folder / f"{name}.json").read_text())["rows"]).splitlines()
    page = (folder / "README.md").read_text().replace("not measured", "–")
    assert len(lines) > 2
    assert all(line in page for line in lines)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--seeds", "1", "1"], "got --seeds 1 1, expected at least one, and each once"),
        (["--data", "a/hopper.hdf5", "b/hopper.hdf5"], "ending) hopper hopper, expected"),
        (["--data", "pendulum-swingup", "missing.hdf5"], "missing.hdf5"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: list[str], message: str
) -> None:
    runs = tmp_path / "runs"
    words = ["--data", "pendulum-swingup", "--run-dir", str(runs), "--output", "scores.json"]
    with pytest.raises(SystemExit, match="2"):
        main([*words, *changes])
    assert message in capsys.readouterr().err
    assert not runs.exists()
