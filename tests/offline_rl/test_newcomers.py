"""From the README's command to a trained policy and its figures, for each source that is a file."""

import os
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from scoreregs_offline_rl import load_policy
from scoreregs_offline_rl.commands.main import main
from scoreregs_offline_rl.data.hdf5 import save_hdf5
from scoreregs_offline_rl.data.pendulum import record_pendulum_swingup
from scoreregs_offline_rl.files import load_json
from tests.offline_rl.test_layouts import log as vector_log
from tests.offline_rl.test_lerobot import columns, write
from tests.offline_rl.test_ogbench import NAME, roll_out
from tests.offline_rl.test_own_logs import log_of

SMALL = [
    part
    for name in ("critic", "behavior", "cloning", "policy")
    for part in (f"--{name}.steps", "10", f"--{name}.batch-size", "8", f"--{name}.width", "16")
]


def npz(folder: Path) -> list[str]:
    np.savez(folder / "arm.npz", **log_of())
    return [str(folder / "arm.npz")]


def hdf5(folder: Path) -> list[str]:
    save_hdf5(folder / "swing.hdf5", record_pendulum_swingup(episodes=2), "Pendulum-v1")
    return [str(folder / "swing.hdf5"), "--evaluation.episodes", "2"]


def d4rl(folder: Path) -> list[str]:
    """As D4RL's own files are: no next observations, infos in a group, named by the task."""
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("mujoco")
    env = gymnasium.make("Hopper-v4")
    env.action_space.seed(0)
    rows = []
    for episode in range(4):
        observation, _ = env.reset(seed=episode)
        for step in range(12):
            action = env.action_space.sample()
            following, reward, *_ = env.step(action)
            rows.append((observation, action, reward, step == 11 and episode < 2, step == 11))
            observation = following
    keys = ("observations", "actions", "rewards", "terminals", "timeouts")
    with h5py.File(folder / "hopper_medium-v2.hdf5", "w") as file:
        for key, column in zip(keys, zip(*rows, strict=True), strict=True):
            kind = bool if key in keys[3:] else np.float32
            file[key] = np.array(column).astype(kind)
        file["timeouts"][()] &= ~file["terminals"][()]
        file["infos/qpos"] = np.zeros((len(rows), 6))
        file["metadata/algorithm"] = "SAC"
    return [str(folder / "hopper_medium-v2.hdf5"), "--evaluation.episodes", "2"]


def ogbench(folder: Path) -> list[str]:
    package = pytest.importorskip("ogbench")
    arrays = roll_out("pointmaze-medium-v0", trajectories=2, steps=20)
    made = package.make_env_and_datasets(NAME, env_only=True)
    made.reset()
    # A random walk never arrives: put the goal where it passes.
    arrays["qpos"][:, :2] += made.unwrapped.cur_goal_xy - arrays["qpos"][10, :2]
    np.savez(folder / f"{NAME}.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return [str(folder / f"{NAME}.npz"), "--evaluation.episodes", "2"]


def lerobot(folder: Path) -> list[str]:
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    without = columns(**{"next.reward": None})
    return [str(write(arrow, folder / "pick", without)), "--rewards", "success"]


def vector(folder: Path) -> list[str]:
    arrays, _ = vector_log(AutoresetMode.NEXT_STEP)
    np.savez(folder / "walks.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return [str(folder / "walks.npz"), "--loading.layout", "next_step"]


def minari(folder: Path) -> list[str]:
    package = pytest.importorskip("minari")
    collector = pytest.importorskip("minari.data_collector")
    env, buffers = gymnasium.make("Pendulum-v1", max_episode_steps=20), []
    for episode in range(3):
        observation, _ = env.reset(seed=episode)
        rows = {"observations": [observation], "actions": [], "rewards": []}
        flags = {"terminations": [], "truncations": []}
        for step in range(20):
            action = np.array([np.sin(step + episode)], np.float32)
            observation, reward, terminated, truncated, _ = env.step(action)
            rows["observations"].append(observation)
            rows["actions"].append(action)
            rows["rewards"].append(float(reward))
            flags["terminations"].append(terminated)
            flags["truncations"].append(truncated)
        rows |= {name: np.array(rows[name]) for name in ("observations", "actions")}
        buffers.append(collector.EpisodeBuffer(id=episode, **rows, **flags))
    about = dict.fromkeys(("algorithm_name", "author", "description"), "x")
    about |= {"author_email": "a@b.c", "code_permalink": "x"}
    package.create_dataset_from_buffers("own/swing-v0", buffers, env=env, **about)
    return [str(folder / "own" / "swing-v0"), "--evaluation.episodes", "2"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("source", [npz, hdf5, d4rl, ogbench, lerobot, vector, minari])
def test_a_file_becomes_a_policy_with_figures(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(os.environ, "MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    data, run_dir = source(tmp_path), tmp_path / "run"
    loading = [word for word in data[1:] if "evaluation" not in word and word != "2"]
    loading = ["--loading.rewards" if word == "--rewards" else word for word in loading]
    assert main(["inspect", data[0], *loading]) == 0
    assert "rows" in capsys.readouterr().out
    train = ["train", "--data", *data, "--run-dir", str(run_dir), "--beta", "0.1", *SMALL]
    assert main([*train, "--stages", "critic", "behavior", "cloning", "policy"]) == 0
    assert "finished about" in capsys.readouterr().out
    assert main(["report", str(run_dir)]) == 0
    report = capsys.readouterr().out
    known = load_json(run_dir / "config.json")["evaluation"]["environment"] is not None
    assert known == (source in (hdf5, d4rl, ogbench, minari))
    assert ("IQM" if known else "no score") in report
    policy = load_policy(run_dir)
    assert (policy.interface and policy.interface.rate) == (10.0 if source is lerobot else None)
    assert np.isfinite(policy(np.zeros((3, len(policy.observation_mean))))).all()
