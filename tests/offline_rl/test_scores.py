"""Reference returns and names."""

import pytest

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.tasks import (
    environment_for,
    normalized_score,
    reference_returns,
)


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("hopper-medium-expert-v2", "Hopper-v4"),
        ("halfcheetah-medium", "HalfCheetah-v4"),
        ("walker2d-medium-replay-v2", "Walker2d-v4"),
        ("pendulum-swingup", "Pendulum-v1"),
        ("Walker2d-v5", "Walker2d-v5"),
        ("Custom-v0", "Custom-v0"),
    ],
)
def test_names_of_data_lead_to_environments(name, environment):
    assert environment_for(name) == environment


# D4RL's published scores: 100 (R - min) / (max - min).
@pytest.mark.parametrize(
    ("name", "return_", "score"),
    [
        ("hopper-medium-v2", -20.272305, 0.0),
        ("Hopper-v5", 3234.3, 100.0),
        ("hopper-medium-expert", 2023.0, 62.8),
        ("HalfCheetah-v5", 5476.0, 46.4),
        ("Walker2d-v4", 2296.96, 50.0),
        ("antmaze-umaze-v2", 0.87, 87.0),
        ("AntMaze_UMaze-v5", 0.87, 87.0),
    ],
)
def test_scores(name, return_, score):
    assert normalized_score(return_, name) == pytest.approx(score, abs=0.05)


def test_a_task_without_references():
    assert reference_returns("InvertedPendulum-v5") is None
    with pytest.raises(ArgumentError, match=r"'Ant-v5'.*plain returns"):
        normalized_score(1.0, "Ant-v5")
