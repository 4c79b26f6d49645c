"""Images of each digit by score distillation: SDS under guidance, and CSD."""

from typing import Literal

import torch
from torch import Tensor

from examples.digits.data import NULL, Digits
from scoreregs import GuidedPrior, ScorePrior, ScoreRegularizedObjective
from scoreregs.recipes import csd, sds

Method = Literal["SDS", "CSD"]


def make_objective(
    method: Method, prior: ScorePrior, scale: float, seed: int
) -> ScoreRegularizedObjective:
    """Returns the recipe; `scale` is the guidance of SDS, and CSD is the guidance alone."""
    null = torch.tensor([NULL])
    generator = torch.Generator().manual_seed(seed)
    if method == "SDS":
        return sds(GuidedPrior(prior, scale, null), generator=generator)
    return csd(prior, null, generator=generator)


def distil(
    method: Method,
    prior: ScorePrior,
    labels: Tensor,
    *,
    scale: float = 3.0,
    steps: int = 150,
    learning_rate: float = 0.05,
    seed: int = 0,
) -> Tensor:
    """Returns an image for each label, (count, 1, 8, 8), from grey with a little noise."""
    objective = make_objective(method, prior, scale, seed)
    start = torch.randn(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    # What is optimised makes the images: here through tanh, which keeps them in [-1, 1].
    raw = (0.1 * start).requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=learning_rate)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(raw.tanh(), labels).loss.backward()
        optimizer.step()
    return raw.detach().tanh()


def recognised(images: Tensor, labels: Tensor, known: Digits) -> float:
    """Returns the share of images whose nearest known digit, by angle, has their label."""
    seen, kept = (torch.nn.functional.normalize(i.flatten(1) + 1) for i in (images, known.images))
    nearest = (seen @ kept.T).argmax(1)
    return (known.labels[nearest] == labels).double().mean().item()
