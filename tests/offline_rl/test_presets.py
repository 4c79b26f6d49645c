"""The paper's settings by task."""

from dataclasses import replace

import pytest

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl import AWRConfig, BehaviorConfig, CriticConfig, PolicyConfig, TrainConfig
from scoreregs_offline_rl.runs.presets import beta_for, preset
from scoreregs_offline_rl.tasks import PAPER_TASKS, paper_settings

# Table 2, row by row.
TABLE_2 = {
    "walker2d-medium-expert": 0.1,
    "halfcheetah-medium-expert": 0.01,
    "hopper-medium-expert": 0.01,
    "walker2d-medium": 0.05,
    "halfcheetah-medium": 0.2,
    "hopper-medium": 0.05,
    "walker2d-medium-replay": 0.5,
    "halfcheetah-medium-replay": 0.2,
    "hopper-medium-replay": 0.2,
    "antmaze-umaze": 0.02,
    "antmaze-medium-play": 0.08,
    "antmaze-large-play": 0.06,
    "antmaze-umaze-diverse": 0.04,
    "antmaze-medium-diverse": 0.05,
    "antmaze-large-diverse": 0.05,
}


def test_every_task_of_the_paper_has_its_temperature():
    assert {name.removesuffix("-v2") for name in PAPER_TASKS} == set(TABLE_2)
    for name, task in PAPER_TASKS.items():
        beta = TABLE_2[name.removesuffix("-v2")]
        for data in (name, f"{name}.hdf5", f"data/{task.file}", f"runs/{name[:-3]}.npz"):
            assert preset(data).beta == beta, data


def test_locomotion_is_appendix_c():
    config = preset("walker2d-medium-replay-v2")
    assert config == TrainConfig(data="walker2d-medium-replay-v2", beta=0.5)
    critic, behavior, policy = config.critic, config.behavior, config.policy
    assert (critic.steps, critic.batch_size, critic.expectile) == (1_500_000, 256, 0.7)
    assert (critic.layers, critic.width, critic.learning_rate) == (2, 256, 3e-4)
    assert (critic.discount, critic.target_rate) == (0.99, 0.005)
    assert (behavior.steps, behavior.batch_size, behavior.learning_rate) == (2_000_000, 2048, 3e-4)
    assert (behavior.weight_decay, behavior.dropout, behavior.first_time) == (0.01, 0.1, 1e-3)
    assert (policy.steps, policy.batch_size, policy.learning_rate) == (1_000_000, 256, 3e-4)
    assert (policy.layers, policy.width, policy.times) == (2, 256, (0.02, 0.98))
    assert (policy.weighting, policy.baseline) == ("sigma2", "noise")
    assert (policy.normalize, policy.beta_on) == (None, "prior")
    assert (config.rewards, config.normalize_observations) == (None, True)
    assert (config.awr.advantage_scale, config.awr.clip) == (3.0, 100.0)


@pytest.mark.parametrize("data", ["antmaze-large-play-v2", "D4RL/antmaze/umaze-v1"])
def test_antmaze_is_the_form_that_its_temperatures_belong_to(data):
    config = preset(data)
    assert config.critic == CriticConfig(expectile=0.9)
    assert config.policy == PolicyConfig(layers=4, normalize="rms", beta_on="value")
    assert config.awr == AWRConfig(advantage_scale=10.0)
    assert (config.rewards, config.behavior) == ("antmaze", BehaviorConfig())
    assert config.beta == (0.06 if data.endswith("v2") else None)


def test_paper_exact_leaves_observations_alone():
    assert not preset("hopper-medium-v2", "paper-exact").normalize_observations
    assert preset("hopper-medium-v2", "paper-exact").behavior.held_out == 0
    assert preset("hopper-medium-v2", "paper-exact").beta == 0.05
    with pytest.raises(ArgumentError, match="expected one of 'paper', 'paper-exact', 'laptop'"):
        preset("hopper-medium-v2", "papers")  # pyright: ignore[reportArgumentType]


def test_a_preset_has_an_older_name():
    assert preset("hopper-medium-v2", "default") == preset("hopper-medium-v2", "paper")


def test_the_laptop_knows_nothing_of_the_data():
    """No setting by file."""
    settings = [preset(data, "laptop") for data in ("hopper-medium-v2", "walker.hdf5", "x.npz")]
    assert all(replace(config, data="") == replace(settings[0], data="") for config in settings)


def test_a_temperature_belongs_to_its_form():
    other = PolicyConfig(normalize="l2")
    assert beta_for("hopper-medium", PolicyConfig()) == 0.05
    assert beta_for("hopper-medium", other) is None
    assert beta_for("antmaze-umaze-v2", PolicyConfig()) is None
    assert beta_for("antmaze-umaze-v2", preset("antmaze-umaze-v2").policy) == 0.02


@pytest.mark.parametrize("data", ["my-robot.npz", "pendulum-swingup", "hopper-random-v2", "hopper"])
def test_other_data_has_no_temperature(data):
    assert paper_settings(data).beta is None
    assert preset(data) == TrainConfig(data=data)
