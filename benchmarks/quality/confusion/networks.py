"""What the confusion matrix is over, and the small networks that are trained for its rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from typing_extensions import override

from scoreregs import (
    CosineSchedule,
    EDMSchedule,
    NetworkPrior,
    NoiseSchedule,
    RectifiedFlowSchedule,
    VESchedule,
    VPSchedule,
)
from scoreregs.checking import DataMap
from scoreregs.kernel import diffuse
from scoreregs.predictions import PREDICTIONS, PredictionName, expand

__all__ = [
    "DATA",
    "RANGES",
    "SCHEDULES",
    "Setting",
    "TimedNetwork",
    "claimed",
    "settings",
    "trained",
]

SCHEDULES: dict[str, Callable[[], NoiseSchedule]] = {
    "VP": VPSchedule,
    "cosine": CosineSchedule,
    "rectified flow": RectifiedFlowSchedule,
    "VE": VESchedule,
    "EDM": EDMSchedule,
}
# From data in [-1, 1].
RANGES = {
    "[-1, 1]": DataMap(),
    "[0, 1]": DataMap(0.5, 0.5),
    "latent": DataMap(2.4, 0.7),
    "[0, 255]": DataMap(127.5, 127.5),
}


@dataclass(frozen=True)
class Setting:
    """What a network was trained for, or what is claimed of it, by names."""

    prediction: PredictionName
    schedule: str
    range: str


def settings(schedules: Sequence[str], ranges: Sequence[str]) -> list[Setting]:
    """Returns every combination of a prediction, one of the schedules and one of the ranges."""
    return [Setting(*row) for row in product(PREDICTIONS, schedules, ranges)]  # pyright: ignore[reportArgumentType]


def crescents(count: int, seed: int) -> Tensor:
    """Returns points on two crescents in [-1, 1]^2, (count, 2)."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.pi * torch.rand(count, generator=generator)
    which = torch.randint(2, (count,), generator=generator)
    sign = 1.0 - 2.0 * which
    points = torch.stack([angle.cos() - sign / 2, sign * (angle.sin() - 0.25)], dim=1) / 1.7
    return points + 0.04 * torch.randn(count, 2, generator=generator)


def digits(count: int, seed: int) -> Tensor:
    """Returns handwritten digits of 4 x 4 pixels in [-1, 1], flat, (count, 16)."""
    images = torch.from_numpy(load_digits(return_X_y=True)[0]).float() / 8 - 1
    images = torch.nn.functional.avg_pool2d(images.reshape(-1, 8, 8), 2).flatten(1)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(images), (count,), generator=generator)
    # Grey levels are few; a little noise makes a density of them.
    return images[rows] + 0.05 * torch.randn(count, 16, generator=generator)


DATA: dict[str, Callable[[int, int], Tensor]] = {"crescents": crescents, "digits": digits}


class TimedNetwork(nn.Module):
    """A multilayer perceptron of x_t and t for one prediction under one schedule.

    As networks are built for training, its input and output have a scale of about one: x_t is
    divided by its radius, and the output multiplied with its target's.
    """

    def __init__(
        self, dimension: int, prediction: str, schedule: NoiseSchedule, width: int = 96
    ) -> None:
        super().__init__()
        self.prediction, self.schedule = prediction, schedule
        self.times = nn.Sequential(nn.Linear(9, width), nn.SiLU(), nn.Linear(width, 2 * width))
        self.gain = nn.Linear(width, 1)
        self.bias = nn.Linear(width, dimension)
        self.first = nn.Linear(dimension, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, dimension)

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the radius of x_t and the root mean square of the target at t, (batch,)."""
        alpha, sigma = self.schedule(t)
        one = torch.ones_like(t)
        a, b = {
            "epsilon": (0 * one, one),
            "sample": (one, 0 * one),
            "v_prediction": (0 * one, one),
            "score": (0 * one, 1 / sigma),
        }.get(self.prediction) or self.schedule.velocity(t)
        return torch.hypot(alpha, sigma), torch.hypot(a, b)

    @override
    def forward(self, x_t: Tensor, t: Tensor, condition: None = None) -> Tensor:
        radius, size = (expand(s, x_t) for s in self.scales(t.double()))
        angles = t[:, None] * torch.tensor([1.0, 3.0, 9.0, 27.0])
        embedding = self.times(torch.cat([t[:, None], angles.sin(), angles.cos()], dim=1))
        shift, scale = embedding.chunk(2, dim=1)
        hidden = torch.nn.functional.silu(self.first(x_t / radius) * (1 + scale) + shift)
        hidden = torch.nn.functional.silu(self.second(hidden) + hidden)
        return size * (self.gain(shift) * (x_t / radius) + self.bias(shift) + self.last(hidden))


def claimed(network: TimedNetwork, claim: Setting) -> NetworkPrior:
    """Returns the prior of a network as somebody claims that it was trained."""
    return NetworkPrior(network, SCHEDULES[claim.schedule](), claim.prediction)


def trained(setting: Setting, make: str, steps: int, seed: int, folder: Path) -> TimedNetwork:
    """Returns the network of a setting, trained or found in the folder.

    By denoising score matching in units of the target, at times that are uniform in [1e-3, 0.999].
    """
    dimension = DATA[make](1, seed).shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TimedNetwork(dimension, setting.prediction, SCHEDULES[setting.schedule]())
    name = f"{make}-{setting.prediction}-{setting.schedule}-{setting.range}-{steps}-{seed}"
    path = folder / f"{name.replace(' ', '')}.safetensors"
    if path.exists():
        network.load_state_dict(load_file(path))
        return network
    x = RANGES[setting.range](DATA[make](20_000, seed))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    prior = claimed(network, setting)
    for _ in range(steps):
        loss = _loss(prior, network, x, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.step()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path)
    return network


def _loss(
    prior: NetworkPrior, network: TimedNetwork, data: Tensor, generator: torch.Generator
) -> Tensor:
    x = data[torch.randint(len(data), (256,), generator=generator)]
    t = 1e-3 + 0.998 * torch.rand(256, generator=generator, dtype=torch.float64)
    noise = torch.randn(x.shape, generator=generator)
    level = prior.schedule.at(t)
    output = prior.checked_predict(diffuse(x, noise, level), level, None)
    difference = prior.prediction.difference(output, x, noise, level, prior.schedule)
    if network.prediction != "score":  # whose difference is in units of the noise already
        difference = difference / expand(network.scales(t)[1], difference)
    if network.prediction == "sample":  # Salimans and Ho's weight, up to where it is only variance
        weight = torch.exp(level.log_snr).clamp(1.0, 300.0).sqrt()
        difference = expand(weight, difference) * difference
    return difference.square().mean()
