"""A diffusion model of the behavior that is not optimal."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.quality.paper.propositions.mixtures import BEHAVIOR, SCHEDULE
from scoreregs import ScorePrior, fit_prior

__all__ = ["trained"]


class _Network(nn.Module):
    """A small model of the noise, far from optimal after a few steps."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        sizes = (3, 32, 32, 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        for parameter in self.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.data = scale * torch.randn(parameter.shape, generator=generator)

    def forward(self, x_t: Tensor, t: Tensor, condition: None) -> Tensor:
        hidden = torch.cat([x_t, t[:, None], torch.log(t)[:, None] / 4], dim=1)
        for layer in self.layers[:-1]:
            hidden = F.silu(layer(hidden))
        return self.layers[-1](hidden)


def trained(steps: int, seed: int) -> ScorePrior:
    """Returns a model after a short training."""
    generator = torch.Generator().manual_seed(seed)
    data = BEHAVIOR.prior().draw(10_000, generator=generator).float()
    network = _Network(generator)
    return fit_prior(network, data, SCHEDULE, steps=steps, learning_rate=3e-3, generator=generator)
