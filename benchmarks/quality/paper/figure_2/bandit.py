"""The bandit's value, and the names of the policies that are extracted from it."""

import math

import torch
from torch import Tensor

__all__ = [
    "DIFFUSION",
    "EQ_10",
    "EQ_15",
    "EQ_15_LOCAL",
    "GAUSSIAN",
    "METHODS",
    "PEAK",
    "value",
]

PEAK = 3.4 * torch.tensor([math.cos(math.pi / 8), math.sin(math.pi / 8)])
GAUSSIAN, DIFFUSION = "forward KL, Gaussian", "forward KL, diffusion"
EQ_10, EQ_15 = "reverse KL, Dirac, Eq. 10", "reverse KL, Dirac, Eq. 15 as in the paper"
EQ_15_LOCAL = "reverse KL, Dirac, Eq. 15 at log-SNR 1 to 5"
METHODS = (GAUSSIAN, DIFFUSION, EQ_10, EQ_15, EQ_15_LOCAL)


def value(x: Tensor, condition: None = None) -> Tensor:
    """Returns Q: two humps of height 2 around opposite peaks, (batch,)."""
    humps = [torch.exp(-(x - peak).square().sum(-1) / 8) for peak in (PEAK, -PEAK)]
    return 2 * (humps[0] + humps[1])
