r"""Inpainting and super-resolution as linear measurements, $y = A x$, without noise.

Two references need no diffusion model. A filled image agrees with its measurements and is nearest
to a guess; the posterior mean under a Gaussian is the best that any linear method can do:

$$ x = g + A^+ (y - A g), \qquad
   \hat x = \mu + \Sigma A^\top (A \Sigma A^\top)^{-1} (y - A \mu). $$
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scoreregs import ScorePrior
from scoreregs.recipes import red_diff
from scoreregs.times import DescendingTimes

# Pixels at the rim hardly vary: without a little noise their covariance is singular.
_JITTER = 1e-3


@dataclass(frozen=True)
class Problem:
    """What is measured of each image.

    Attributes:
        operator: A, (batch, measurements, pixels).
        measured: y, (batch, measurements).
        shape: of an image, (channels, height, width).
    """

    operator: Tensor
    measured: Tensor
    shape: torch.Size

    def misfit(self, x: Tensor) -> Tensor:
        """Returns y - A x, (batch, measurements)."""
        return self.measured - torch.einsum("bmp,bp->bm", self.operator, x.flatten(1))

    def fill(self, guess: Tensor) -> Tensor:
        """Returns the images nearest to a guess that agree with their measurements."""
        correction = torch.einsum(
            "bpm,bm->bp", torch.linalg.pinv(self.operator), self.misfit(guess)
        )
        return guess + correction.reshape(guess.shape)

    def shown(self) -> Tensor:
        """Returns what is measured as images, NaN in the pixels of which nothing is."""
        unseen = (self.operator == 0).all(1).reshape(-1, *self.shape)
        images = self.fill(torch.zeros(len(self.measured), *self.shape))
        return images.masked_fill(unseen, torch.nan)

    def gaussian_mean(self, train: Tensor) -> Tensor:
        """Returns the posterior means under the Gaussian of training images."""
        pixels = train.flatten(1).double()
        mean, operator = pixels.mean(0), self.operator.double()
        covariance = pixels.T.cov() + _JITTER * torch.eye(pixels.shape[1], dtype=torch.float64)
        seen = operator @ covariance @ operator.mT
        innovation = self.measured - torch.einsum("bmp,p->bm", operator, mean)
        weights = torch.linalg.solve(seen, innovation[..., None])
        return (
            (mean + (covariance @ operator.mT @ weights)[..., 0]).reshape(-1, *self.shape).float()
        )


def inpainting(images: Tensor, seed: int, share: float = 0.5) -> Problem:
    """Returns the problem of filling in pixels, of which a random `share` is missing."""
    pixels = images[0].numel()
    kept = pixels - round(share * pixels)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(len(images), pixels, generator=generator).argsort(1)
    operator = F.one_hot(order[:, :kept].sort(1)[0], pixels).to(images.dtype)
    return _measure(operator, images)


def super_resolution(images: Tensor, factor: int = 2) -> Problem:
    """Returns the problem of undoing the average over blocks of `factor` by `factor` pixels."""
    _, _, height, width = images.shape
    basis = torch.eye(height * width, dtype=images.dtype).reshape(-1, 1, height, width)
    operator = F.avg_pool2d(basis, factor).flatten(1).T
    return _measure(operator.expand(len(images), *operator.shape), images)


def _measure(operator: Tensor, images: Tensor) -> Problem:
    measured = torch.einsum("bmp,bp->bm", operator, images.flatten(1))
    return Problem(operator, measured, images.shape[1:])


@dataclass(frozen=True)
class Settings:
    """How RED-diff is run: chosen on validation images.

    Attributes:
        steps: of Adam, and from the noisiest time to the cleanest.
        beta: one over the paper's lambda.
        learning_rate: Adam's.
        draws: noises a step.
        times: the cleanest time and the noisiest.
        restarts: runs with noise of their own, whose mean is the answer: nearer to the posterior
            mean, which is what PSNR asks for, than any of them.
    """

    steps: int = 200
    beta: float = 16.0
    learning_rate: float = 0.05
    draws: int = 4
    times: tuple[float, float] = (0.02, 0.98)
    restarts: int = 8


def restore(
    problem: Problem, prior: ScorePrior, condition: Tensor | None, settings: Settings, seed: int
) -> Tensor:
    """Returns the images that RED-diff finds, which agree with their measurements."""
    generator = torch.Generator().manual_seed(seed)
    found = [_run(problem, prior, condition, settings, generator) for _ in range(settings.restarts)]
    return torch.stack(found).mean(0)


def _run(
    problem: Problem,
    prior: ScorePrior,
    condition: Tensor | None,
    settings: Settings,
    generator: torch.Generator,
) -> Tensor:
    def value(x: Tensor, condition: Tensor | None) -> Tensor:
        return -0.5 * problem.misfit(x).square().sum(1)

    objective = red_diff(
        value,
        prior,
        steps=settings.steps,
        beta=settings.beta,
        draws=settings.draws,
        times=DescendingTimes(settings.steps, over=settings.times),
        generator=generator,
    )
    x = problem.fill(torch.zeros(len(problem.measured), *problem.shape)).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=settings.learning_rate)
    for _ in range(settings.steps):
        optimizer.zero_grad()
        objective(x, condition).loss.backward()
        optimizer.step()
    return problem.fill(x.detach()).clamp(-1, 1)


def psnr(restored: Tensor, truth: Tensor) -> float:
    """Returns the peak signal-to-noise ratio in dB of images in [-1, 1], averaged over them."""
    error = (restored - truth).square().flatten(1).mean(1)
    return (10 * torch.log10(4 / error)).mean().item()
