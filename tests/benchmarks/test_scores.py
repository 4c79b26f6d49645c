"""The score benchmark on the embedded data, shrunk to seconds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.quality.scores import td3_bc
from benchmarks.quality.scores.__main__ import Arguments, main, rows_of
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.selection import selecting_policy
from benchmarks.quality.scores.table import markdown
from scoreregs_offline_rl import Transitions, load_data, load_models, train
from scoreregs_offline_rl.stages.networks import BehaviorNetwork, DiracPolicy

PROTOCOL = Protocol(
    beta=0.1,
    critic_steps=4,
    behavior_steps=4,
    behavior_batch=32,
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
        "advantage-weighted actor",
        "score-regularised policy",
        "cloning",
        "TD3+BC",
        "selection among behavior samples",
    ]
    assert [len(row["returns"]) for row in rows[1:]] == [2, 2, 2, 2, 1]
    assert [row["episodes"] for row in rows[4:]] == [2, 1]
    folder = arguments.run_dir / "pendulum-swingup" / "1"
    kept = [
        folder / name for name in ("cloning/baseline/report.json", "td3_bc.json", "selection.json")
    ]
    before = [path.stat().st_mtime_ns for path in kept]
    assert rows_of(arguments, arguments.data[0], seed=1) == rows
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_cloning_is_not_the_weighted_actor(arguments: Arguments) -> None:
    rows = {row["method"]: row for row in rows_of(arguments, arguments.data[0], seed=1)}
    assert rows["cloning"]["returns"] != rows["advantage-weighted actor"]["returns"]


def test_selection_has_the_scales_of_our_run(arguments: Arguments) -> None:
    """The critic likes large actions: the best sample is clipped, and the bound is 2."""
    folder = arguments.run_dir / "run"
    train(PROTOCOL.config(arguments.data[0], seed=0), folder)
    models, seen = load_models(folder), []
    network = models.prior.network
    assert isinstance(network, BehaviorNetwork)
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    models.critic.target_q.mean = lambda action, observation: action[:, 0]
    observations = np.array([[1.0, 0.0, 4.0], [0.0, -1.0, -2.0]])
    actions = selecting_policy(models, candidates=64)(observations)
    np.testing.assert_array_equal(actions, [[2.0], [2.0]])
    scaled = models.policies["policy"].observation_scaling(torch.tensor(observations).float())
    assert len(seen) == 15
    assert all(given.equal(scaled.repeat_interleave(64, dim=0)) for given in seen)


def test_td3_bc_has_as_many_steps_as_all_stages_together(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def train_td3_bc(data: Transitions, steps: int, seed: int) -> DiracPolicy:
        trained.append((data, steps, seed))
        return DiracPolicy(3, 1)

    monkeypatch.setattr(td3_bc, "train_td3_bc", train_td3_bc)
    protocol = replace(PROTOCOL, critic_steps=10, behavior_steps=6, policy_steps=8)
    td3_bc.run_td3_bc(protocol, arguments.data[0], seed=5)
    ((data, steps, seed),) = trained
    # 16 of the critic and 8 of the policy.
    assert (steps, seed) == (16, 5)
    recorded = load_data("pendulum-swingup")
    assert data.rewards.equal(recorded.rewards)
    torch.testing.assert_close(data.actions, recorded.actions / 2)
    torch.testing.assert_close(data.observations.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(data.observations.std(0), torch.ones(3), atol=1e-4, rtol=0)


def test_the_table_has_means_and_ranges() -> None:
    rows = [{"file": "a", "method": "cloning", "score": score} for score in (1.0, 2.0, 6.0)]
    line = markdown([*rows, {"file": "a", "method": "data", "score": 5.0}]).splitlines()[-1]
    assert "| Data | Cloning | Advantage-weighted actor | TD3+BC |" in markdown(rows)
    assert line == "| a | 5.0 | 3.0 (1.0 to 6.0) | – | – | – | – | – |"


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
