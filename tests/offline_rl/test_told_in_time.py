"""What would go wrong in silence, or late, is refused or said in one line, in time."""

import json
import logging
import re
import shutil
from dataclasses import fields, replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    DataKeys,
    EvaluationConfig,
    LoadingConfig,
    PolicyConfig,
    RunError,
    SweepGrid,
    TrainConfig,
    TrainedPolicy,
    TrainerConfig,
    export_onnx,
    load_data,
    load_policy,
    rehearse,
    rehearse_sweep,
    sweep,
    train,
)
from scoreregs_offline_rl.data.columns import held_by_float32
from scoreregs_offline_rl.data.minari_data import load_minari
from scoreregs_offline_rl.data.ogbench_data import ogbench_file
from scoreregs_offline_rl.data.scaling import ActionScaling, ObservationScaling
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.inspection.inspection import inspect_data
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.tasks import reference_returns
from scoreregs_offline_rl.tasks.ogbench import OGBenchTask
from tests.offline_rl.rl_data import make_transitions

STAGES = ("critic", "behavior", "policy")
RECORDED = {
    "observations": np.random.default_rng(0).normal(size=(100, 3)),
    "actions": np.random.default_rng(1).uniform(-1, 1, (100, 2)),
    "rewards": np.arange(100.0),
    "terminals": np.zeros(100, bool),
    "timeouts": np.arange(100) % 10 == 9,
}


def configuration(**changes) -> TrainConfig:
    small: dict[str, Any] = {"steps": 2, "batch_size": 16, "width": 8}
    config = TrainConfig(
        data="made",
        beta=0.1,
        critic=CriticConfig(**small),
        behavior=BehaviorConfig(**small, blocks=1),
        policy=PolicyConfig(**small),
        evaluation=EvaluationConfig(episodes=0),
        trainer=TrainerConfig(log_every=1, checkpoint_every=5, cpu=True),
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def data():
    return make_transitions(100)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("finished")
    train(configuration(), run_dir, stages=STAGES, data=data)
    return run_dir


@pytest.fixture
def run_dir(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


LIES = {
    "a list": lambda content: [],
    "null": lambda content: None,
    "nothing in it": lambda content: {},
    "a stage that is null": lambda content: {**content, "critic": None},
    "a stage that is a list": lambda content: {**content, "critic": [1]},
    "a trainer that is null": lambda content: {**content, "trainer": None},
    "a trainer that is a word": lambda content: {**content, "trainer": "cpu"},
    "no data": lambda content: {k: v for k, v in content.items() if k != "data"},
    "a setting of another type": lambda content: {**content, "seed": "x"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_configuration_that_lies_is_refused_in_one_line(run_dir, lie):
    path = run_dir / "config.json"
    path.write_text(json.dumps(LIES[lie](json.loads(path.read_text()))))
    with pytest.raises(RunError, match=r"config\.json(: got a JSON| that TrainConfig)") as error:
        RunDirectory(run_dir).read_config()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["{}", '{"stages": {}}'])
def test_a_result_that_lies_is_made_again(run_dir, data, content):
    (run_dir / "result.json").write_text(content)
    assert set(train(configuration(), run_dir, stages=STAGES, data=data)["stages"]) == set(STAGES)


@pytest.mark.parametrize("content", ["[]", "null", "{"])
def test_a_result_that_cannot_be_read_is_told(run_dir, data, content):
    (run_dir / "result.json").write_text(content)
    with pytest.raises(RunError, match=r"cannot read .*result\.json"):
        train(configuration(), run_dir, stages=STAGES, data=data)


@pytest.mark.parametrize("content", ["{}", '{"beta": 0.1}'])
def test_a_record_of_the_temperature_that_lies_says_nothing(run_dir, content):
    (run_dir / "beta.json").write_text(content)
    assert RunDirectory(run_dir).chosen_beta() is None


@pytest.mark.parametrize("lost", ["agent", "agent/model.safetensors", "agent/config.json"])
def test_a_policy_that_was_lost_is_written_again(run_dir, data, lost):
    expected = load_policy(run_dir)(np.zeros(4, np.float32))
    path = run_dir / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    train(configuration(), run_dir, stages=STAGES, data=data)
    np.testing.assert_array_equal(load_policy(run_dir)(np.zeros(4, np.float32)), expected)


def test_a_policy_of_a_sweep_that_was_lost_is_written_again(data, tmp_path):
    grid = SweepGrid(seeds=(0,), betas=(0.1, 0.2))
    sweep(configuration(), tmp_path, grid=grid, stages=STAGES, data=data)
    agent = tmp_path / "members/seed-0_beta-0.2/agent/model.safetensors"
    before = agent.read_bytes()
    agent.unlink()
    sweep(configuration(), tmp_path, grid=grid, stages=STAGES, data=data)
    assert agent.read_bytes() == before


def test_a_checkpoint_whose_record_lacks_something_is_damaged(data, tmp_path):
    from scoreregs_offline_rl.training.checkpoints import _check

    state = {"step": 5, "seconds": 1.0, "latest": {}, "sha256": {}}
    with pytest.raises(RunError, match=r"a state without \['mean'\]"):
        _check(tmp_path / "step-000000005", state)


def test_an_environment_of_other_sizes_is_told_before_anything_is_trained(data, tmp_path, caplog):
    config = configuration(evaluation=EvaluationConfig(environment="Pendulum-v1", episodes=1))
    with pytest.raises(ArgumentError, match=r"Pendulum-v1 with observations of 3 .*data with 4"):
        train(config, tmp_path / "named", stages=STAGES, data=data)
    assert not (tmp_path / "named").exists()
    recorded = replace(data, environment="Pendulum-v1")
    with caplog.at_level(logging.WARNING):
        train(configuration(), tmp_path / "recorded", stages=STAGES, data=recorded)
    assert "checked but not evaluated: got the environment Pendulum-v1" in caplog.text


def test_what_never_changes_is_held_by_float32():
    constant = np.full((50, 1), 0.1)
    assert held_by_float32(constant).tolist() == [True]
    assert held_by_float32(1.7e9 + np.arange(50.0)[:, None]).tolist() == [False]
    arrays = {"actions": np.linspace(-1, 1, 50)[:, None], "rewards": np.arange(50.0)}
    ends = {"terminals": np.zeros(50, bool), "timeouts": np.arange(50) % 10 == 9}
    made = Transitions.from_arrays(np.hstack([constant, constant + 1]), **arrays, **ends)
    assert made.observations.dtype == torch.float32
    assert not [line for line in inspect_data(made).findings if "float32" in line]


@pytest.mark.parametrize("key", ["actions", "rewards"])
def test_actions_and_rewards_that_float32_rounds_away_are_told(key, caplog):
    columns = {
        "observations": np.random.default_rng(0).normal(size=(50, 2)),
        "actions": np.linspace(-1, 1, 50)[:, None],
        "rewards": np.arange(50.0),
    }
    columns[key] = columns[key] + 1e9
    ends = {"terminals": np.zeros(50, bool), "timeouts": np.arange(50) % 10 == 9}
    with caplog.at_level(logging.WARNING):
        Transitions.from_arrays(**columns, **ends)
    assert f"key '{key}': features [0] vary by so little" in caplog.text


def test_a_policy_that_float32_cannot_tell_apart_is_not_exported(tmp_path):
    pytest.importorskip("onnxscript")
    scaling = ObservationScaling(
        torch.tensor([1.7e9 + 0.3, 0.0], dtype=torch.float64), torch.tensor([2.0, 1.0])
    )
    bounds = ActionScaling(torch.tensor([-1.0]), torch.tensor([1.0]))
    policy = TrainedPolicy(DiracPolicy(2, 1), scaling, bounds)
    with pytest.raises(RunError, match=r"got observations \[0\] that vary by so little"):
        export_onnx(policy, tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "config",
    [
        LoadingConfig(rewards="success"),
        LoadingConfig(layout="states"),
        LoadingConfig(max_episode_steps=5),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_for_minari_are_refused(config):
    pytest.importorskip("minari")
    with pytest.raises(DataError, match=r"got loading\.\w+ = .* for a Minari data set"):
        load_minari("me/arm-v0", config)


READING = {
    "rewards = 'success'": {"rewards": "success"},
    "layout = 'states'": {"loading": LoadingConfig(layout="states")},
    "rows = 'qlearning'": {"loading": LoadingConfig(rows="qlearning")},
    "max_episode_steps = 5": {"loading": LoadingConfig(max_episode_steps=5)},
    "terminals_end = False": {"loading": LoadingConfig(terminals_end=False)},
    "keys.actions = 'torque'": {"loading": LoadingConfig(keys=DataKeys(actions="torque"))},
}


@pytest.mark.parametrize("job", [train, rehearse, sweep, rehearse_sweep])
@pytest.mark.parametrize("setting", READING)
def test_settings_that_read_files_are_refused_beside_data_in_memory(data, tmp_path, job, setting):
    words = rf"got loading\.{re.escape(setting)}, .* data in memory \(arrays\).*leave data out"
    with pytest.raises(ArgumentError, match=words):
        job(configuration(**READING[setting]), tmp_path / "run", data=data)
    assert not (tmp_path / "run").exists()


def test_every_setting_that_reads_a_file_is_among_them():
    told = {re.split(r"[ .]", setting)[0] for setting in READING}
    assert told | {"mirrors"} == {field.name for field in fields(LoadingConfig)}


def test_mirrors_are_no_matter_beside_data_in_memory(data, tmp_path):
    config = configuration(loading=LoadingConfig(mirrors=("http://mine.example",)))
    assert rehearse(config, tmp_path / "run", stages=["critic"], data=data).stages


def test_a_run_that_has_begun_goes_on_with_the_same_data_in_memory(data, tmp_path):
    """Its digest says that it was read so."""
    np.savez(tmp_path / "log.npz", **RECORDED)
    loading = LoadingConfig(rows="qlearning")
    config = configuration(data=str(tmp_path / "log.npz"), loading=loading)
    train(config, tmp_path / "run", stages=["critic"])
    same = load_data(config.data, loading)
    train(config, tmp_path / "run", stages=["critic", "behavior"], data=same)
    other = replace(same, rewards=same.rewards + 1)
    with pytest.raises(RunError, match="sha256"):
        train(config, tmp_path / "run", stages=["policy"], data=other)


@pytest.mark.parametrize("given", [{}, "log.npz", np.zeros(3)])
def test_data_in_memory_is_transitions(tmp_path, given):
    with pytest.raises(ArgumentError, match=r"got data of type .*expected Transitions: make"):
        train(configuration(), tmp_path / "run", data=given)


def test_rows_for_validation_have_a_file_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OGBENCH_DATASET_DIR", str(tmp_path))
    arrays = {name: np.zeros((3, 2)) for name in ("observations", "actions")}
    for ending in ("", "-val"):
        path = tmp_path / f"pointmaze-medium-navigate-v0{ending}.npz"
        np.savez(path, terminals=np.ones(3), **arrays)  # pyright: ignore[reportArgumentType]
    for name in ("pointmaze-medium-navigate-v0", "pointmaze-medium-navigate-v0-val"):
        task = OGBenchTask.find(name)
        assert task is not None
        assert ogbench_file(task).name == f"{name}.npz"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Pendulum-v1", {"kwargs": {"g": 5.0}}),
        ("Pendulum-v1", {"max_episode_steps": 50}),
        ("Hopper-v5", {"entry_point": "gymnasium.envs.mujoco.half_cheetah_v4:HalfCheetahEnv"}),
        ("hopper-medium-v2", {"entry_point": "gymnasium.envs.mujoco.hopper_v5:HopperEnv"}),
    ],
)
def test_an_id_that_is_registered_otherwise_has_no_reference(name, changes):
    kept = gymnasium.registry.get(name)
    assert reference_returns(name) is not None
    usual = {} if kept is None else {"entry_point": kept.entry_point}
    limit = 1000 if kept is None else kept.max_episode_steps
    try:
        gymnasium.registry.pop(name, None)
        gymnasium.register(name, **{**usual, "max_episode_steps": limit, **changes})
        assert reference_returns(name) is None
    finally:
        gymnasium.registry.pop(name, None)
        if kept is not None:
            gymnasium.registry[name] = kept
    assert reference_returns(name) is not None
