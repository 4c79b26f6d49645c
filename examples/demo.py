"""Train on the embedded data set and draw what the method does.

    python examples/demo.py --run-dir runs/demo

The four panels share one slice of the data: the pendulum hangs straight down and swings at some
speed. There the data pushes both ways. (1) what it did; (2) the density of the behavior model;
(3) the value of every torque; (4) both policies on top of the density: advantage-weighted
regression averages what it imitates, so it crosses slowly from one mode to the other; SRPO, the
score-regularised policy, climbs the value and switches.
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from scoreregs import probability_flow
from scoreregs_offline_rl import AWRStage, PolicyStage, RunModels, load_data, load_models
from scoreregs_offline_rl.commands.main import main as command_line

SETTINGS = [
    "--data=pendulum-swingup",
    "--preset=paper",
    "--beta=0.1",
    "--critic.steps=10000",
    "--critic.width=128",
    "--behavior.steps=4000",
    "--behavior.batch-size=256",
    "--behavior.width=128",
    "--policy.steps=5000",
    "--policy.width=128",
    "--evaluation.episodes=50",
]
SPEEDS, TORQUES = torch.linspace(-4, 4, 33), torch.linspace(-2, 2, 41)


def hanging(speed: Tensor) -> Tensor:
    """Returns observations (cos, sin, speed) of a pendulum that hangs straight down."""
    return torch.stack([-torch.ones_like(speed), torch.zeros_like(speed), speed], dim=-1)


def evaluate_slice(models: RunModels) -> tuple[Tensor, Tensor]:
    """Returns the behavior's density and the value, (torques, speeds), relative to each state."""
    scaling = models.policies[PolicyStage.name].observation_scaling
    torque, speed = torch.meshgrid(TORQUES, SPEEDS, indexing="ij")
    observation = scaling(hanging(speed.flatten()))
    action = (torque / 2).flatten()[:, None]
    # The action is in [-1, 1]; a torque is twice that, which halves the density.
    density = probability_flow.log_density(
        models.prior, action, observation, times=(0.02, 1.0), tolerance=1e-3
    )
    with torch.no_grad():
        value = models.value.q(action, observation).reshape(torque.shape)
    return density.exp().reshape(torque.shape) / 2, value - value.mean(0)


def recorded_near_slice(observations: Tensor, actions: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns speeds and torques of the data with the pendulum within 15 degrees of hanging."""
    near = observations[:, 0] < -np.cos(np.radians(15))
    chosen = near.nonzero()[:, 0][:4000]
    return observations[chosen, 2].numpy(), actions[chosen, 0].numpy()


def draw(models: RunModels, result: dict, path: Path) -> None:
    """Draws the four panels."""
    data = load_data("pendulum-swingup")
    density, value = evaluate_slice(models)
    figure, axes = plt.subplots(
        1, 4, figsize=(16, 4.2), sharex=True, sharey=True, layout="constrained"
    )
    extent = (float(SPEEDS[0]), float(SPEEDS[-1]), float(TORQUES[0]), float(TORQUES[-1]))

    axes[0].scatter(*recorded_near_slice(data.observations, data.actions), s=3, c="0.25", alpha=0.4)
    axes[0].set_title(f"1  data: both ways\nscore {result['data_score']:.0f}")

    def image(axis: Axes, content: Tensor, cmap: str, label: str) -> None:
        limit = float(content.quantile(0.99))
        low = 0.0 if cmap == "Blues" else -limit
        shown = axis.imshow(
            content, origin="lower", extent=extent, aspect="auto", cmap=cmap, vmin=low, vmax=limit
        )
        figure.colorbar(shown, ax=axis, label=label, shrink=0.9)

    image(axes[1], density, "Blues", "density / (N m)$^{-1}$")
    axes[1].set_title("2  diffusion behavior\n$\\mu(a \\mid s)$")
    image(axes[2], value, "PuOr", "discounted return")
    axes[2].set_title("3  critic\n$Q(s, a)$ less its mean")

    image(axes[3], density, "Blues", "density / (N m)$^{-1}$")
    for stage, style in (
        (AWRStage, {"color": AWRStage.colour, "linestyle": "--"}),
        (PolicyStage, {"color": "black"}),
    ):
        torque = models.policies[stage.name](hanging(SPEEDS))[:, 0]
        score = result["scores"][stage.name]
        axes[3].plot(SPEEDS, torque, linewidth=2, label=f"{stage.label}: {score:.0f}", **style)
    axes[3].set_title("4  policies on the density\nscores below")
    figure.legend(loc="outside lower right", ncols=2, frameon=False)
    for axis in axes:
        axis.set_xlabel("speed of the hanging pendulum / rad s$^{-1}$")
    axes[0].set_ylabel("torque / N m")
    axes[0].set_xlim(extent[:2])
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=120, format="png")
    partial.replace(path)


def main() -> int:
    """Trains, draws, and says where everything is."""
    parser = argparse.ArgumentParser(
        description="Train on the embedded data set and draw what the method does."
    )
    parser.add_argument("--run-dir", type=Path, default=Path("runs/demo"))
    run_dir = parser.parse_args().run_dir
    code = command_line(["train", *SETTINGS, f"--run-dir={run_dir}"])
    if code:
        return code
    result = json.loads((run_dir / "result.json").read_text())
    draw(load_models(run_dir), result, run_dir / "demo.png")
    print(f"picture: {run_dir / 'demo.png'}\nnumbers: {run_dir / 'result.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
