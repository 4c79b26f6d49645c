"""A teacher in two dimensions, distilled to one step, by sliced Wasserstein distance to its data.

python -m benchmarks.quality.distillation --output distillation.json [--data spiral]

The teacher is trained on normals on a circle or on a spiral without gaps, and sampled by Heun
steps; each student starts as its denoiser at one noise level, and is the moving average of its
weights: how many samples each mode has wanders slowly, which a rate that falls to zero would only
freeze. Distances are of equally many samples, to data that nobody was trained on; that of other
data is what no model goes below.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from typing_extensions import override

from benchmarks.machine import machine, public_command
from scoreregs import EDMSchedule, NetworkPrior, fit_prior
from scoreregs.distillation import Distillation
from scoreregs.recipes import diff_instruct, sid, vsd
from scoreregs.times import LogNormalTimes
from scoreregs_offline_rl.files import save_json

__all__ = ["DATA", "measure", "sliced_wasserstein"]

RECIPES = {"vsd": vsd, "diff_instruct": diff_instruct, "sid": sid}
MODES, RADIUS, STD = 6, 1.0, 0.15
TURNS, THICKNESS = 1.5, 0.05  # of the spiral
START = 2.0  # sigma at which a student starts as the teacher's denoiser
# Of generator and fake prior, at the start and at the end of a cosine.
LEARNING_RATES = ((1.5e-3, 5e-4), (2e-3, 1e-3))
EMA = 0.999


@dataclass(frozen=True)
class Arguments:
    """A teacher in two dimensions, distilled to one step."""

    output: Path
    """The JSON that is written."""
    data: Literal["normals", "spiral"] = "normals"
    """What the teacher is trained on."""
    recipes: tuple[str, ...] = tuple(RECIPES)
    """Which students are trained."""
    teacher_steps: int = 10_000
    """Of the teacher."""
    steps: int = 6_000
    """Of a generator."""
    fake_steps: int = 2
    """Of the fake prior, for each of them."""
    batch_size: int = 1024
    """Of generator and fake prior."""
    samples: int = 60_000
    """On each side of a distance."""
    seed: int = 0
    """Of everything."""


class Network(nn.Module):
    """A prediction of the data from x_t / sqrt(1 + sigma^2) and log(sigma)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        sizes = (2 + 3, width, width, width)
        layers = [
            module
            for before, after in pairwise(sizes)
            for module in (nn.Linear(before, after), nn.SiLU())
        ]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    @override
    def forward(self, x_t: Tensor, log_sigma: Tensor, condition: None = None) -> Tensor:
        time = log_sigma[:, None].to(x_t.dtype)
        scale = torch.sqrt(1 + torch.exp(2 * time))
        features = [x_t / scale, time / 4, torch.cos(time), torch.sin(time)]
        skip = x_t / scale**2
        return skip + torch.tanh(time + 1).exp() / scale * self.layers(torch.cat(features, 1))


def normals(count: int, generator: torch.Generator) -> Tensor:
    """Returns samples of the mixture, (count, 2)."""
    angle = torch.randint(MODES, (count,), generator=generator) * (2 * torch.pi / MODES)
    center = RADIUS * torch.stack([torch.cos(angle), torch.sin(angle)], 1)
    return center + STD * torch.randn(count, 2, generator=generator)


def spiral(count: int, generator: torch.Generator) -> Tensor:
    """Returns samples of a spiral whose radius grows from 0.2 to 1.2, (count, 2)."""
    along = torch.rand(count, generator=generator)
    angle = 2 * torch.pi * TURNS * along
    center = (0.2 + along)[:, None] * torch.stack([torch.cos(angle), torch.sin(angle)], 1)
    return center + THICKNESS * torch.randn(count, 2, generator=generator)


DATA = {"normals": normals, "spiral": spiral}


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 64) -> float:
    """Returns the sliced 2-Wasserstein distance of equally many samples, over even directions.

    Example:
        >>> x = torch.zeros(10, 2)
        >>> round(sliced_wasserstein(x, x + torch.tensor([1.0, 0.0])) ** 2, 3)
        0.5
    """
    angle = torch.arange(directions) * (torch.pi / directions)
    along = torch.stack([torch.cos(angle), torch.sin(angle)])
    first, second = ((samples @ along).sort(0).values for samples in (x, y))
    return (first - second).square().mean().sqrt().item()


@torch.no_grad()
def heun(prior: NetworkPrior, noise: Tensor, steps: int = 80) -> Tensor:
    """Returns samples along the probability flow by EDM's second-order steps, (count, 2)."""
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    sigmas = prior.schedule(times)[1].to(noise.dtype)
    x = sigmas[0] * noise
    for t, after, sigma, smaller in zip(times, times[1:], sigmas, sigmas[1:], strict=False):
        slope = (x - prior.denoise(x, t)) / sigma
        guess = x + (smaller - sigma) * slope
        corrected = (guess - prior.denoise(guess, after)) / smaller
        x = x + (smaller - sigma) * (slope + corrected) / 2
    return x


def measure(arguments: Arguments) -> dict[str, Any]:
    """Returns the distances of data, teacher and students."""
    torch.manual_seed(arguments.seed)
    random = torch.Generator().manual_seed(arguments.seed)
    data_of = DATA[arguments.data]
    schedule = EDMSchedule(sigma_min=0.01, sigma_max=20.0)

    def time_map(t: Tensor) -> Tensor:
        return schedule(t)[1].log()

    teacher_network = Network()
    teacher = fit_prior(
        teacher_network,
        data_of(100_000, random),
        schedule,
        prediction="sample",
        time_map=time_map,
        times=(0.0, 1.0),
        steps=arguments.teacher_steps,
        batch_size=512,
        learning_rate=2e-3,
        generator=random,
    )
    held_out = data_of(arguments.samples, random)
    shape = tuple(held_out.shape)
    distances = {
        "other data": sliced_wasserstein(data_of(arguments.samples, random), held_out),
        "teacher": sliced_wasserstein(
            heun(teacher, torch.randn(shape, generator=random)), held_out
        ),
    }
    for name in arguments.recipes:
        student = _student(name, teacher, teacher_network, arguments, random)
        distances[name] = sliced_wasserstein(student(shape), held_out)
    return {"distances": distances, "over_teacher": _ratios(distances)}


def _student(
    name: str,
    teacher: NetworkPrior,
    network: Network,
    arguments: Arguments,
    random: torch.Generator,
) -> Callable[[tuple[int, ...]], Tensor]:
    generator, fake_network = Network(), Network()
    for copy in (generator, fake_network):
        copy.load_state_dict(network.state_dict())
    fake = NetworkPrior(fake_network, teacher.schedule, "sample", teacher.time_map)
    # VSD's own times are uniform, half of them above a sigma of 1, where both priors say the same.
    options: dict[str, Any] = {"times": LogNormalTimes(teacher.schedule)} if name == "vsd" else {}
    objective, fit = RECIPES[name](teacher, fake, generator=random, **options)
    optimizer, fake_optimizer = (
        torch.optim.Adam(trained.parameters(), lr=rate, betas=(0.0, 0.99))
        for trained, (rate, _) in zip((generator, fake_network), LEARNING_RATES, strict=True)
    )
    averaged = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(EMA))
    level = torch.tensor([START]).log()

    def made(z: Tensor, network: nn.Module) -> Tensor:
        return network(START * z, level.expand(len(z)))

    distillation = Distillation(
        lambda z, condition: made(z, generator),
        objective,
        fit,
        optimizer=optimizer,
        fake_optimizer=fake_optimizer,
        fake_steps=arguments.fake_steps,
    )
    decays = [
        torch.optim.lr_scheduler.CosineAnnealingLR(o, arguments.steps, eta_min=end)
        for o, (_, end) in zip((optimizer, fake_optimizer), LEARNING_RATES, strict=True)
    ]
    for _ in range(arguments.steps):
        distillation.step(lambda: (torch.randn(arguments.batch_size, 2, generator=random), None))
        averaged.update_parameters(generator)
        for decay in decays:
            decay.step()

    @torch.no_grad()
    def draw(shape: tuple[int, ...]) -> Tensor:
        return made(torch.randn(shape, generator=random), averaged)

    return draw


def _ratios(distances: dict[str, float]) -> dict[str, float]:
    return {name: float(np.round(d / distances["teacher"], 4)) for name, d in distances.items()}


if __name__ == "__main__":
    given = tyro.cli(Arguments)
    result = {
        "command": public_command("benchmarks.quality.distillation", sys.argv[1:]),
        "machine": machine(),
        **measure(given),
    }
    save_json(given.output, result)
    print(result["distances"], result["over_teacher"])
