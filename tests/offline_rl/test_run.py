"""A run from data to evaluated policies, small, on the recorded pendulum."""

import dataclasses
import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch

from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.configuration import to_dict
from scoreregs_offline_rl.data.hdf5 import load_hdf5, save_hdf5
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import data_score, evaluate
from scoreregs_offline_rl.randoms import NEWEST_DRAWS
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.resolution import resolve
from scoreregs_offline_rl.runs.run import evaluate_run, train
from scoreregs_offline_rl.runs.scaled import scale

STAGES = ("critic", "behavior", "awr", "policy")


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "swing.hdf5"
    save_hdf5(path, record_pendulum_swingup(episodes=6), "Pendulum-v1")
    return path


def small(data_file, **changes):
    config = TrainConfig(
        data=str(data_file),
        beta=0.1,
        critic=CriticConfig(steps=30, batch_size=32, width=16),
        behavior=BehaviorConfig(steps=25, batch_size=32, width=16),
        policy=PolicyConfig(steps=20, batch_size=32, width=16),
        evaluation=EvaluationConfig(episodes=3, seed=5),
        trainer=TrainerConfig(log_every=10, checkpoint_every=10, cpu=True),
    )
    return dataclasses.replace(config, **changes)


@pytest.fixture(scope="module")
def finished(data_file, tmp_path_factory, pictures):
    run_dir = tmp_path_factory.mktemp("runs") / "small"
    return run_dir, train(small(data_file), run_dir, command="train it")


def test_what_a_run_leaves(finished):
    run_dir, _ = finished
    files = {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}
    kept = {name for name in files if "checkpoints" not in name}
    expected = {"config.json", "data.json", "result.json", "run.png"}
    for stage in STAGES:
        expected |= {
            f"{stage}/{n}" for n in ("weights.safetensors", "metrics.jsonl", "report.json")
        }
    for agent in ("agent", "awr_agent"):
        expected |= {f"{agent}/config.json", f"{agent}/model.safetensors"}
    assert kept == expected


def test_result(finished, data_file):
    run_dir, result = finished
    assert json.loads((run_dir / "result.json").read_text()) == result
    steps = {"critic": 30, "behavior": 25, "awr": 20, "policy": 20}
    assert {name: stage["steps"] for name, stage in result["stages"].items()} == steps
    for stage in result["stages"].values():
        assert stage["steps_per_second"] == pytest.approx(stage["steps"] / stage["seconds"])
    total = sum(stage["seconds"] for stage in result["stages"].values())
    assert total < result["seconds"] < total + 60
    assert result["data_score"] == pytest.approx(data_score(load_hdf5(data_file)))
    assert result["normalized_score"] == result["policy"]["normalized_score"]
    assert result["scores"]["awr"] == result["awr"]["normalized_score"]
    assert len(result["policy"]["returns"]) == 3
    assert result["policy"]["mean"] == pytest.approx(np.mean(result["policy"]["returns"]))
    assert result["policy"]["standard_error"] > 0
    assert (result["beta"], result["seed"], result["evaluation_seed"]) == (0.1, 0, 5)
    assert result["command"] == "train it"
    # Not every wheel's name says what it was built for.
    found, expected = result["versions"]["torch"], torch.__version__
    assert found.partition("+")[0] == expected.partition("+")[0]


def test_the_saved_policies_are_those_that_were_evaluated(finished):
    run_dir, result = finished
    policy = TrainedPolicy.load(run_dir / "agent")
    again = evaluate(policy, "Pendulum-v1", 3, 5)
    assert list(again.returns) == result["policy"]["returns"]
    both = evaluate_run(run_dir, 3, 5)
    assert list(both["awr"].returns) == result["awr"]["returns"]
    assert both["awr"].returns != both["policy"].returns


def test_statistics_and_bounds_are_part_of_the_policy(finished, data_file):
    policy = TrainedPolicy.load(finished[0] / "agent")
    observations = load_hdf5(data_file).observations
    torch.testing.assert_close(policy.observation_scaling.mean, observations.mean(0))
    assert policy.action_scaling.low.tolist() == [-2.0]
    assert policy.action_scaling.high.tolist() == [2.0]


def test_a_second_run_trains_nothing(finished, data_file):
    run_dir, result = finished
    assert train(small(data_file), run_dir, progress=_refuse) == result
    before = result | {"seconds": 0, "stages": 0, "command": 0}
    (run_dir / "result.json").unlink()
    again = train(small(data_file), run_dir, progress=_refuse, command="train it")
    assert again | {"seconds": 0, "stages": 0, "command": 0} == before
    assert again["stages"] == result["stages"]


def test_another_configuration_is_refused(finished, data_file):
    with pytest.raises(RunError, match=r"\(seed: 0 before, 1 now\): choose another") as caught:
        train(small(data_file, seed=1), finished[0])
    assert "\n" not in str(caught.value)


def test_the_same_data_may_lie_elsewhere(data_file, tmp_path):
    """Where a file lies or was downloaded from does not make it another run's."""
    train(small(data_file), tmp_path / "run", stages=["critic"])
    moved = shutil.copy(data_file, tmp_path / "moved.hdf5")
    elsewhere = small(moved, loading=LoadingConfig(mirrors=("http://another.example",)))
    train(elsewhere, tmp_path / "run", stages=["critic"], progress=_refuse)
    kept = json.loads((tmp_path / "run/config.json").read_text())
    assert (kept["data"], kept["loading"]["mirrors"]) == (str(moved), ["http://another.example"])
    other = small(moved, loading=LoadingConfig(rows="qlearning"))
    with pytest.raises(RunError, match=r"loading.rows: 'all' before"):
        train(other, tmp_path / "run", stages=["critic"])


def _refuse(stage, step, steps, metrics):
    raise RuntimeError(f"{stage} was trained again")


def test_other_data_under_the_same_name_is_refused(data_file, tmp_path):
    path = tmp_path / "swing.hdf5"
    arrays = record_pendulum_swingup(episodes=6)
    save_hdf5(path, arrays, "Pendulum-v1")
    config = small(path)
    train(config, tmp_path / "run")
    save_hdf5(path, arrays | {"rewards": arrays["rewards"] - 1}, "Pendulum-v1")
    with pytest.raises(RunError, match="sha256"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize(
    "column", ["observations", "actions", "rewards", "next_observations", "terminals"]
)
def test_every_column_tells_data_apart(finished, data_file, column):
    data = load_hdf5(data_file)
    RunDirectory(finished[0]).check_data(data)
    changed = getattr(data, column).clone()
    changed[7] = 1
    with pytest.raises(RunError, match="sha256"):
        RunDirectory(finished[0]).check_data(dataclasses.replace(data, **{column: changed}))


def test_a_seed_gives_the_same_bits(finished, data_file, tmp_path):
    train(small(data_file), tmp_path)
    for stage in STAGES:
        name = f"{stage}/weights.safetensors"
        assert (tmp_path / name).read_bytes() == (finished[0] / name).read_bytes()


def test_a_temperature_is_asked_for(data_file):
    data = load_hdf5(data_file)
    with pytest.raises(RunError, match=r"give --beta\. .* sweep 0\.01, .* 0\.5"):
        resolve(small(data_file, beta=None), data)
    antmaze = PolicyConfig(normalize="rms", beta_on="value")
    with pytest.raises(RunError, match=r"give --beta\. .* sweep 0\.02 to 0\.08"):
        resolve(small(data_file, beta=None, policy=antmaze), data)
    assert resolve(small(data_file, beta=None), data, ["critic", "behavior"]).beta is None


def test_what_depends_on_the_data_is_resolved(data_file, finished):
    resolved = resolve(small(data_file), load_hdf5(data_file))
    assert resolved.evaluation.environment == "Pendulum-v1"
    assert resolved.awr.steps == 20
    drawn = dataclasses.replace(resolved.trainer, draws=NEWEST_DRAWS)
    kept = to_dict(dataclasses.replace(resolved, trainer=drawn))
    assert json.loads((finished[0] / "config.json").read_text()) == kept
    named = dataclasses.replace(resolved, data="x/hopper-medium-v2.hdf5", beta=None)
    assert resolve(named, load_hdf5(data_file)).beta == 0.05


def test_scaled_data(data_file):
    data = load_hdf5(data_file)
    config = resolve(small(data_file), data)
    scaled = scale(data, config).transitions
    torch.testing.assert_close(scaled.observations.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.observations.std(0), torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(scaled.actions, data.actions / 2)
    moved = (data.next_observations - data.observations.mean(0)) / data.observations.std(0)
    torch.testing.assert_close(scaled.next_observations, moved, atol=1e-3, rtol=1e-3)
    extent = data.returns().max() - data.returns().min()
    torch.testing.assert_close(scaled.rewards, data.rewards * 1000 / extent)
    plain = scale(data, dataclasses.replace(config, normalize_observations=False)).transitions
    assert plain.observations.equal(data.observations)


def test_a_batch_that_cannot_be_filled_is_refused_before_any_training(data_file, tmp_path):
    large: dict[str, Any] = {"steps": 3, "batch_size": 10**6}
    config = small(data_file, behavior=BehaviorConfig(**large), policy=PolicyConfig(**large))
    both = r"set --behavior\.batch-size (\d+) --policy\.batch-size \d+ or less"
    with pytest.raises(RunError, match=both):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "critic").exists()
