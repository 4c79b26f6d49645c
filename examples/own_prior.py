"""Plug in a network of your own, whatever it was trained to predict.

    python examples/own_prior.py --run-dir runs/own-prior

A small network learns two half-moons: once as a rectified flow, once on the variance-exploding
schedule, once in the manner of EDM. What differs is one row of `KINDS`. Each is asked whether it is
plugged in right. Then points climb a value whose maximum lies off the data, while the prior keeps
them on it. The three answers stand beside each other, in numbers and in a picture.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from scoreregs import (
    EDMSchedule,
    NetworkPrior,
    NoiseSchedule,
    RectifiedFlowSchedule,
    ScorePrior,
    ScoreRegularizedObjective,
    VESchedule,
    check_prior,
    fit_prior,
)
from scoreregs.predictions import PredictionLike
from scoreregs.priors.edm import Preconditioned
from scoreregs.times import LogSNRTimes

# The one line: under which schedule the network was trained, and what it returns.
KINDS: dict[str, tuple[NoiseSchedule, PredictionLike]] = {
    "rectified flow": (RectifiedFlowSchedule(), "flow_prediction"),
    "VE": (VESchedule(sigma_min=0.01, sigma_max=20.0), "epsilon"),
    "EDM": (EDMSchedule(sigma_min=0.01, sigma_max=20.0), Preconditioned(sigma_data=1.0)),
}
BETAS = (0.05, 0.25, 2.0)
PEAK = (1.2, 1.6)
# Okabe and Ito's, which colour-blind readers can tell apart.
COLORS = ("#D55E00", "#0072B2", "#009E73")
MARKERS = ("o", "^", "s")


class Network(nn.Module):
    """A network of yours: it sees x_t at unit scale and how noisy it is."""

    def __init__(self, schedule: NoiseSchedule, width: int = 128) -> None:
        super().__init__()
        self.schedule = schedule
        self.layers = nn.Sequential(
            nn.Linear(4, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 2),
        )  # fmt: skip

    def forward(self, x_t: Tensor, t: Tensor, condition: None) -> Tensor:
        """Returns the prediction, (batch, 2)."""
        alpha, sigma = self.schedule(t[:, None])
        angle = torch.atan2(sigma, alpha)
        scaled = x_t / torch.hypot(alpha, sigma)
        return self.layers(torch.cat([scaled, 2 * angle.cos(), 2 * angle.sin()], dim=1))


def two_moons(count: int, seed: int) -> Tensor:
    """Returns points of two interleaved half circles, (count, 2), of unit variance."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.pi * torch.rand(count, generator=generator)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    side = 1 - 2 * (torch.arange(count) % 2)[:, None]
    noise = 0.07 * torch.randn(count, 2, generator=generator)
    moons = side * upper + noise
    return (moons - moons.mean(0)) / moons.std(0)


def value(x: Tensor, condition: None) -> Tensor:
    """Returns what is to be maximised, (batch,): a quadratic with its maximum off the data."""
    return -0.5 * (x - torch.tensor(PEAK)).square().sum(-1)


def train_prior(
    schedule: NoiseSchedule, prediction: PredictionLike, data: Tensor, *, steps: int, seed: int
) -> ScorePrior:
    """Returns a network of yours, trained, as a prior."""
    torch.manual_seed(seed)
    network = Network(schedule)
    fit_prior(
        network,
        data,
        schedule,
        prediction=prediction,
        steps=steps,
        learning_rate=3e-3,
        generator=torch.Generator().manual_seed(seed),
    )
    # Yours is trained already: this line is all that it takes. (`fit_prior` returns the same.)
    return NetworkPrior(network, schedule, prediction)


def optimise(prior: ScorePrior, beta: float, *, count: int, steps: int, seed: int) -> Tensor:
    """Returns points that climbed the value under a prior, (count, 2), from a normal start."""
    generator = torch.Generator().manual_seed(seed)
    objective = ScoreRegularizedObjective.from_value(
        value,
        prior,
        beta=beta,
        # The log-SNR means the same under every schedule, so beta does too. Noise of 0.08 to 0.6 is
        # as wide as a moon at least and no wider than the gap between them.
        times=LogSNRTimes(prior.schedule, 1.0, 5.0, points="low_discrepancy"),
        weighting="uniform",
        draws=4,
        reduction="sum",
        generator=generator,
    )
    x = torch.randn(count, 2, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.05)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(x).loss.backward()
        optimizer.step()
        decay.step()
    return x.detach()


def on_support(points: Tensor, data: Tensor) -> float:
    """Returns the share of points as close to the data as 99 % of the data is to the rest of it."""
    among = torch.cdist(data, data).fill_diagonal_(torch.inf).amin(1)
    nearest = torch.cdist(points, data).amin(1)
    return (nearest <= among.quantile(0.99)).double().mean().item()


@dataclass(frozen=True)
class Outcome:
    """What the points of one prior and one beta came to."""

    prior: str
    beta: float
    on_support: float
    mean_value: float


def summarise(found: Mapping[str, Mapping[float, Tensor]], data: Tensor) -> list[Outcome]:
    """Returns one outcome for each prior and beta."""
    return [
        Outcome(kind, beta, on_support(points, data), value(points, None).mean().item())
        for kind, by_beta in found.items()
        for beta, points in by_beta.items()
    ]


def draw(found: Mapping[str, Mapping[float, Tensor]], data: Tensor) -> Figure:
    """Returns a panel for each prior: data, contours of the value, optimised points."""
    figure = Figure(figsize=(12, 5.2), layout="compressed")
    axes: list[Axes] = list(
        figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    )
    across, up = torch.meshgrid(
        torch.linspace(-2.6, 2.6, 100), torch.linspace(-2.6, 2.6, 100), indexing="xy"
    )
    height = value(torch.stack([across, up], dim=-1), None)
    for axis, (kind, by_beta) in zip(axes, found.items(), strict=True):
        axis.contour(across, up, height, levels=8, colors="0.75", linewidths=0.8, linestyles="-")
        axis.scatter(*data.T, s=5, c="0.6", linewidths=0, label="data")
        for (beta, points), color, marker in zip(by_beta.items(), COLORS, MARKERS, strict=False):
            style = {"c": color, "marker": marker, "linewidths": 0, "alpha": 0.8}
            axis.scatter(*points.T, s=16, label=f"optimised, $\\beta$ = {beta:g}", **style)
        axis.plot(*PEAK, "k+", markersize=12, markeredgewidth=2, label="maximum of the value")
        axis.set_title(kind)
        axis.set_xlabel("$x_1$")
        axis.set_aspect("equal")
    axes[0].set_ylabel("$x_2$")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=5, frameon=False, markerscale=1.5
    )
    return figure


def run(
    *,
    samples: int = 2000,
    fit_steps: int = 3000,
    points: int = 300,
    steps: int = 400,
    seed: int = 0,
) -> tuple[list[Outcome], Figure]:
    """Returns the outcomes and the picture; sizes are arguments so that a test can shrink them."""
    data = two_moons(samples, seed)
    found = {}
    for kind, (schedule, prediction) in KINDS.items():
        prior = train_prior(schedule, prediction, data, steps=fit_steps, seed=seed)
        report = check_prior(prior, data)
        print(f"{kind}: {'ok: plugged in right' if report.ok else report.cause}")
        found[kind] = {
            beta: optimise(prior, beta, count=points, steps=steps, seed=seed) for beta in BETAS
        }
    return summarise(found, data), draw(found, data)


def main() -> int:
    """Runs, prints a table, and says where everything is."""
    parser = argparse.ArgumentParser(description="Plug in a network of your own.")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/own-prior"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    outcomes, figure = run(seed=arguments.seed)
    print(f"\n{'prior':16} {'beta':>5} {'on the data':>12} {'mean value':>11}")
    for row in outcomes:
        print(f"{row.prior:16} {row.beta:5g} {row.on_support:12.0%} {row.mean_value:11.3f}")
    result = {
        "outcomes": [asdict(outcome) for outcome in outcomes],
        "seed": arguments.seed,
        "seconds": time.perf_counter() - start,
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()}
        | {package: metadata.version(package) for package in ("scoreregs", "torch")},
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    arguments.run_dir.mkdir(parents=True, exist_ok=True)
    picture, numbers = arguments.run_dir / "own-prior.png", arguments.run_dir / "result.json"
    figure.savefig(picture, dpi=120)
    numbers.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\npicture: {picture}\nnumbers: {numbers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
