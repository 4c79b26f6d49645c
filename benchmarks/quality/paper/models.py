"""Diffusion models of several densities in the plane, trained side by side as one network."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from scoreregs import NetworkPrior, ScorePrior, VPSchedule, fit_prior
from scoreregs.priors.edm import Preconditioned

__all__ = ["Fit", "SideBySide", "fit"]

# Of the data, roughly: every density in these figures has a standard deviation of 1.4 to 2.3.
PREDICTION = Preconditioned(sigma_data=2.0)
SCHEDULE = VPSchedule()
WAVES = 16
FREQUENCY = 4.0


@dataclass(frozen=True)
class Fit:
    """How long models are trained.

    Attributes:
        width: of each of three hidden layers.
        steps: of Adam, with a cosine decay to zero.
        batch_size: samples of each density in a step.
        learning_rate: at the start.
    """

    width: int = 128
    steps: int = 10_000
    batch_size: int = 512
    learning_rate: float = 5e-3


class SideBySide(nn.Module):
    """Independent networks of one shape: x_t is (batch, members, 2), a point of each.

    Args:
        members: how many.
        width: of each of three hidden layers.
        generator: the source of the initial weights.
    """

    def __init__(self, members: int, width: int, generator: Generator) -> None:
        super().__init__()
        self.waves: Tensor
        self.register_buffer("waves", FREQUENCY * torch.randn(2, WAVES, generator=generator))
        sizes = (2 + 2 * WAVES + 5, width, width, width, 2)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            weight = torch.randn(members, fan_in, fan_out, generator=generator)
            self.weights.append(nn.Parameter(weight / fan_in**0.5))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, fan_out)))

    def forward(self, x_t: Tensor, t: Tensor, condition: None) -> Tensor:
        """Returns the predictions of all members, (batch, members, 2)."""
        return self._predict(x_t.transpose(0, 1), t, slice(None)).transpose(0, 1)

    def prior(self) -> ScorePrior:
        """Returns the prior of all members, of events (members, 2)."""
        return NetworkPrior(self, SCHEDULE, PREDICTION)

    def prior_of(self, member: int) -> ScorePrior:
        """Returns the prior of one member alone, of events (2,)."""

        def network(x_t: Tensor, t: Tensor, condition: None) -> Tensor:
            return self._predict(x_t[None], t, slice(member, member + 1))[0]

        return NetworkPrior(network, SCHEDULE, PREDICTION)

    def _predict(self, x_t: Tensor, t: Tensor, members: slice) -> Tensor:
        """Returns the predictions of some members, (members, batch, 2)."""
        level = SCHEDULE.at(t.double())
        sigma_data = PREDICTION.sigma_data
        scaled = x_t / torch.hypot(sigma_data * level.alpha, level.sigma)[:, None].to(x_t.dtype)
        waves = [wave(scaled @ self.waves) for wave in (torch.sin, torch.cos)]
        noise_level = torch.log(level.sigma / level.alpha) / 4
        times = [wave(k * noise_level) for k in (1, 2) for wave in (torch.sin, torch.cos)]
        time = torch.stack([noise_level, *times], dim=1).to(x_t.dtype)
        hidden = torch.cat([scaled, *waves, time.expand(len(x_t), -1, -1)], dim=2)
        *inner, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in inner:
            hidden = F.silu(torch.baddbmm(bias[members], hidden, weight[members]))
        weight, bias = last
        return torch.baddbmm(bias[members], hidden, weight[members])


def fit(data: Sequence[Tensor], options: Fit, generator: Generator) -> SideBySide:
    """Returns a network fit to several data sets, (count, 2) each, a member for each of them."""
    network = SideBySide(len(data), options.width, generator)
    fit_prior(
        network,
        torch.stack(list(data), dim=1),
        SCHEDULE,
        prediction=PREDICTION,
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        generator=generator,
    )
    return network
