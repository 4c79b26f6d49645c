"""Train on data that goes both ways round an obstacle, and draw what each method does with it.

    python -m examples.demo --run-dir runs/demo

Panels 1 to 4 are the plane: what was recorded, and episodes of a clone, of advantage-weighted
regression and of the policy of Eq. 15, of every seed. Panel 5 is the line before the obstacle
where the data parts: the velocities along y that were recorded there, and those of each policy.
Regression takes the mean of both ways, which leads into the obstacle; Eq. 15 takes one way, and
crosses fast from one to the other.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from examples.fork import (
    ENVIRONMENT,
    GOAL,
    GOAL_RADIUS,
    OBSTACLE_RADIUS,
    STEPS,
    move,
    record,
    starts,
)
from scoreregs_offline_rl import (
    AWRStage,
    CloningStage,
    PolicyStage,
    Stage,
    TrainedPolicy,
    load_policy,
)
from scoreregs_offline_rl.commands.main import main as command_line
from scoreregs_offline_rl.figures import drawing
from scoreregs_offline_rl.files import load_json, save_json

SETTINGS = [
    "--preset=laptop",
    "--rewards=none",
    "--no-hand-over-recommended",
    "--critic.steps=1000",
    "--critic.width=64",
    "--critic.target-rate=0.1",
    "--behavior.steps=1500",
    "--behavior.batch-size=256",
    "--behavior.width=128",
    "--behavior.sampler=log_snr",
    "--behavior.return-share=None",
    "--cloning.steps=600",
    "--cloning.policies=1",
    "--cloning.return-share=None",
    "--awr.steps=600",
    # As is usual for returns of 0 or 1.
    "--awr.advantage-scale=10",
    "--policy.steps=600",
    "--policy.width=64",
    # A mean of several policies would be a mean of both ways again.
    "--policy.policies=1",
    "--policy.return-share=None",
    "--policy.start=random",
    "--policy.data-weight=0",
    "--policy.learning-rate=1e-3",
    # Noise as wide as one way at least, and no wider than what parts the two.
    "--policy.log-snr", "2", "5",
    "--policy.sampler=log_snr",
    "--policy.weighting=uniform",
    "--evaluation.episodes=50",
]  # fmt: skip
METHODS: tuple[type[Stage[Any]], ...] = (CloningStage, AWRStage, PolicyStage)
STAGES = ("critic", "behavior", *(stage.name for stage in METHODS))
SEEDS, BETA = (0, 1, 2, 3, 4), 0.3
EPISODES = 2000
# Before the obstacle, where the data parts.
PARTING = -0.6

Array = NDArray[np.float64]


def save_data(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Writes a recording as an NPZ file, as a log of one's own would be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays, environment=np.array(ENVIRONMENT))  # pyright: ignore[reportArgumentType]


def roll_out(policy: TrainedPolicy, episodes: int = 10, seed: int = 0) -> Array:
    """Returns the positions of episodes, (steps + 1, episodes, 2); an ended one rests."""
    position = starts(episodes, np.random.default_rng(seed))
    path, running = [position], np.ones((episodes, 1), dtype=bool)
    for _ in range(STEPS):
        moved, reached, crashed = move(position, policy(position))
        position = np.where(running, moved, position)
        path.append(position)
        running = running & ~(reached | crashed)[:, None]
    return np.stack(path)


def recorded_paths(arrays: dict[str, NDArray[Any]], episodes: int = 60) -> Array:
    """Returns the positions of the first recorded episodes, as `roll_out` does; then NaN."""
    paths = np.full((STEPS + 1, episodes, 2), np.nan)
    ends = np.flatnonzero(arrays["terminals"] | arrays["timeouts"])[:episodes] + 1
    for episode, (first, last) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        paths[: last - first, episode] = arrays["observations"][first:last]
        paths[last - first, episode] = arrays["next_observations"][last - 1]
    return paths


def by_seed(result: dict[str, Any]) -> dict[str, list[float]]:
    """Returns the share of episodes that reached the goal, by method, in the order of the seeds."""
    members = result["members"].values()
    return {stage.name: [member[stage.name]["mean"] for member in members] for stage in METHODS}


def draw_plane(axis: Axes, paths: Array, colour: str, title: str) -> None:
    """Draws the obstacle, the goal, and paths (steps, episodes, 2)."""
    axis.add_patch(Circle((0.0, 0.0), OBSTACLE_RADIUS, color="0.8", linewidth=0))
    axis.add_patch(Circle((GOAL[0], GOAL[1]), GOAL_RADIUS, fill=False, linestyle="--"))
    axis.plot(paths[..., 0], paths[..., 1], color=colour, linewidth=0.8, alpha=0.6)
    axis.axvline(PARTING, color="0.5", linewidth=0.8, linestyle=":")
    axis.set(title=title, xlim=(-1.45, 1.3), ylim=(-1.15, 1.15), xlabel="x", aspect="equal")


def draw(
    figure: Figure,
    arrays: dict[str, NDArray[Any]],
    policies: dict[str, list[TrainedPolicy]],
    shares: dict[str, list[float]],
) -> None:
    """Draws the five panels.

    Args:
        figure: that is drawn on.
        arrays: the recording.
        policies: by method, one for each seed.
        shares: of episodes that reached the goal, likewise.
    """
    axes = list(figure.subplots(1, 5))
    reached = arrays["rewards"].sum() / (arrays["terminals"] | arrays["timeouts"]).sum()
    title = f"1  data: both ways\n{reached:.0%} reach the goal"
    draw_plane(axes[0], recorded_paths(arrays), "0.25", title)
    axes[0].set_ylabel("y")
    near = np.abs(arrays["observations"][:, 0] - PARTING) < 0.05
    y, line = arrays["observations"][near, 1], np.linspace(-0.3, 0.3, 61)
    axes[4].scatter(y, arrays["actions"][near, 1], s=2, c="0.6", linewidths=0)
    for number, (axis, stage) in enumerate(zip(axes[1:4], METHODS, strict=True), start=2):
        own, share = policies[stage.name], shares[stage.name]
        spread = f"{np.mean(share):.0%} ({min(share):.0%} to {max(share):.0%})"
        paths = np.concatenate([roll_out(policy) for policy in own], axis=1)
        draw_plane(axis, paths, stage.colour, f"{number}  {stage.label}\n{spread}")
        for policy in own:
            velocity = policy(np.stack([np.full_like(line, PARTING), line], axis=1))
            axes[4].plot(line, velocity[:, 1], color=stage.colour, linewidth=1)
    axes[4].set(title="5  at the dotted line,\nin the colours of 2 to 4", xlim=(-0.3, 0.3))
    axes[4].set(xlabel="y", ylabel="velocity along y", ylim=(-1, 1))


def main() -> int:
    """Trains, draws, and says where everything is."""
    parser = argparse.ArgumentParser(
        description="Train on data that goes both ways, and draw what each method does with it."
    )
    parser.add_argument("--run-dir", type=Path, default=Path("runs/demo"))
    run_dir = parser.parse_args().run_dir
    data, arrays = run_dir / "fork.npz", record(EPISODES, seed=0)
    save_data(data, arrays)
    grid = ["--betas", str(BETA), "--seeds", *map(str, SEEDS)]
    words = [f"--data={data}", f"--run-dir={run_dir}", *SETTINGS, "--stages", *STAGES, *grid]
    code = command_line(["sweep", *words])
    if code:
        return code
    result = load_json(run_dir / "result.json")
    folders, shares = [run_dir / "members" / label for label in result["members"]], by_seed(result)
    policies = {
        stage.name: [load_policy(folder, stage.name) for folder in folders] for stage in METHODS
    }
    with drawing(run_dir / "demo.png", 16, 4.2) as figure:
        draw(figure, arrays, policies, shares)
    save_json(run_dir / "demo.json", {"seeds": SEEDS, "reached": shares})
    for stage in METHODS:
        print(f"{stage.label:32}" + "".join(f"{share:6.0%}" for share in shares[stage.name]))
    print(f"picture: {run_dir / 'demo.png'}\nnumbers: {run_dir / 'demo.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
