"""The embedded data set against Gymnasium's dynamics, its fingerprint and its purpose."""

import hashlib
import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch

from scoreregs_offline_rl.data import pendulum
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.evaluation.rollouts import data_score, evaluate
from scoreregs_offline_rl.tasks import reference_returns

# Of the arrays' bytes by sorted key. A change of the data is a change of its file's version, too.
DIGEST = "5587af5ed44076f41954b7be896e8a555d0905707262c54a6a70c4f95919909d"
MEAN_RETURN, SCORE = -420.3, 74.9


@pytest.fixture(scope="module")
def arrays():
    return pendulum.record_pendulum_swingup()


def test_the_recording_is_the_same_everywhere(arrays):
    content = b"".join(arrays[key].tobytes() for key in sorted(arrays))
    assert hashlib.sha256(content).hexdigest() == DIGEST


def test_an_episode_depends_on_its_index_alone(arrays):
    few = pendulum.record_pendulum_swingup(episodes=7)
    for key, values in few.items():
        np.testing.assert_array_equal(values, arrays[key][: 7 * 200])


def test_series_are_sine_and_cosine():
    angle = np.linspace(-np.pi, np.pi, 20_001)
    np.testing.assert_allclose(pendulum._sin(angle), np.sin(angle), atol=1e-14, rtol=0)
    np.testing.assert_allclose(pendulum._cos(angle), np.cos(angle), atol=1e-14, rtol=0)


def test_dynamics_are_gymnasiums_step_for_step():
    environment = gymnasium.make("Pendulum-v1").unwrapped
    environment.reset(seed=0)
    generator = np.random.default_rng(0)
    angle, speed = generator.uniform(-np.pi, np.pi, 500), generator.uniform(-8, 8, 500)
    torque = generator.uniform(-2, 2, 500)
    next_angle, next_speed, reward = pendulum._step(angle, speed, torque)
    observed = pendulum._observe(next_angle, next_speed)
    for row in range(500):
        environment.state = np.array([angle[row], speed[row]])  # type: ignore[attr-defined]
        observation, expected, *_ = environment.step(torque[row : row + 1])
        np.testing.assert_allclose(observed[row], observation, atol=1e-6, rtol=0)
        assert reward[row] == pytest.approx(expected, abs=1e-9)


def test_recorded_rows_are_gymnasiums(arrays):
    environment = gymnasium.make("Pendulum-v1").unwrapped
    environment.reset(seed=0)
    for row in np.random.default_rng(1).integers(90_000, size=500):
        cosine, sine, speed = arrays["observations"][row].astype(float)
        environment.state = np.array([np.arctan2(sine, cosine), speed])  # type: ignore[attr-defined]
        observation, reward, *_ = environment.step(arrays["actions"][row])
        np.testing.assert_allclose(arrays["next_observations"][row], observation, atol=5e-6)
        assert arrays["rewards"][row] == pytest.approx(reward, abs=5e-6)


def test_shape_of_the_data(arrays, tmp_path):
    data = pendulum.load_pendulum_swingup(tmp_path)
    assert data.environment == "Pendulum-v1"
    assert len(data) == 450 * 200
    assert not data.terminals.any()
    assert data.ends.nonzero().flatten().tolist() == list(range(199, 90_000, 200))
    assert data.actions.abs().max() <= 2
    inside = ~data.ends[:-1]
    assert torch.equal(data.next_observations[:-1][inside], data.observations[1:][inside])
    for key in ("observations", "actions", "rewards", "next_observations"):
        np.testing.assert_array_equal(getattr(data, key).numpy(), arrays[key])


def test_the_quality_is_the_one_that_was_fixed(tmp_path):
    data = pendulum.load_pendulum_swingup(tmp_path)
    assert float(data.returns().mean()) == pytest.approx(MEAN_RETURN, abs=0.1)
    assert data_score(data) == pytest.approx(SCORE, abs=0.1)


def test_both_ways_from_one_state_and_rarely_between(arrays):
    cosine, _, speed = arrays["observations"].T
    hanging = (cosine < -0.97) & (np.abs(speed) < 0.5)
    torque = arrays["actions"][hanging, 0]
    assert len(torque) > 200
    assert (torque < -1).mean() > 0.3
    assert (torque > 1).mean() > 0.3
    assert (np.abs(torque) < 0.5).mean() < 0.2


def test_imitation_is_far_below_the_reference(arrays):
    """The mean action of the nearest rows, without any learning, fails in many episodes."""
    scale = torch.tensor([1.0, 1.0, 0.25])
    rows = torch.from_numpy(arrays["observations"][::3]) * scale
    torque = torch.from_numpy(arrays["actions"][::3])

    def imitate(observations):
        near = torch.cdist(torch.from_numpy(observations) * scale, rows)
        return torque[near.topk(50, largest=False).indices].mean(1).numpy()

    result = evaluate(imitate, "Pendulum-v1", episodes=32, seed=0)
    assert result.normalized_score is not None
    assert result.normalized_score < 75


def test_reference_returns_are_those_measured():
    references = reference_returns("pendulum-swingup")
    assert references is not None
    generator = np.random.default_rng(0)

    def random_policy(observations):
        return generator.uniform(-2, 2, (len(observations), 1))

    for policy, expected in (
        (pendulum.swing_up_policy, references.expert),
        (random_policy, references.random),
    ):
        result = evaluate(policy, "Pendulum-v1", episodes=200, seed=100_000, parallel=200)
        assert result.standard_error is not None
        assert result.mean == pytest.approx(expected, abs=3 * result.standard_error)
        assert result.standard_error < 25


def test_the_cache_is_found_used_and_damage_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("SCOREREGS_CACHE", str(tmp_path / "cache"))
    pendulum.load_pendulum_swingup()
    (path,) = (tmp_path / "cache").iterdir()
    monkeypatch.setattr(pendulum, "record_pendulum_swingup", lambda: pytest.fail("recorded again"))
    pendulum.load_pendulum_swingup()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=path.name):
        pendulum.load_pendulum_swingup()


def test_the_default_cache_is_the_users(tmp_path):
    module = "scoreregs_offline_rl.data.pendulum"
    code = f"from {module} import load_pendulum_swingup; load_pendulum_swingup()"
    environment = {k: v for k, v in os.environ.items() if k != "SCOREREGS_CACHE"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environment |= {"LOCALAPPDATA": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert [path.parent.name for path in tmp_path.rglob("*.hdf5")] == ["scoreregs"]


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="SCOREREGS_CACHE"):
        pendulum.load_pendulum_swingup(tmp_path / "file" / "cache")
