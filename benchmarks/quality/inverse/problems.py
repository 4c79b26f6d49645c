r"""Linear problems on images of 8 x 8 pixels in [0, 1], $y = A x + \sigma \epsilon$.

Operators have norm 1, which the steps of plug-and-play methods presume.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["PROBLEMS", "Problem", "gaussian_mean", "measure", "psnr", "signed_misfit"]

_SIDE = 8


@dataclass(frozen=True)
class Problem:
    """What is measured of a batch of images.

    Attributes:
        operator: A, (measurements, pixels).
        noise: sigma, in units of [0, 1].
        measured: y, (batch, measurements).
    """

    operator: Tensor
    noise: float
    measured: Tensor

    def projected(self) -> Tensor:
        """Returns the measurements as images, $A^T y$."""
        return (self.measured @ self.operator).reshape(-1, 1, _SIDE, _SIDE)


def inpainting(seed: int) -> Tensor:
    """Returns the operator that keeps half of the pixels, the same of every image."""
    order = torch.randperm(_SIDE**2, generator=torch.Generator().manual_seed(seed))
    return torch.eye(_SIDE**2)[order[: _SIDE**2 // 2].sort().values]


def super_resolution(seed: int) -> Tensor:
    """Returns the operator of sums over blocks of 2 x 2 pixels, divided by two."""
    return 2 * F.avg_pool2d(_basis(), 2).flatten(1).T


def deblurring(seed: int, width: float = 0.8) -> Tensor:
    """Returns the operator of a periodic Gaussian blur of `width` pixels."""
    line = torch.exp(-0.5 * (torch.arange(-3.0, 4.0) / width).square())
    kernel = torch.outer(line, line) / line.sum().square()
    padded = F.pad(_basis(), (3, 3, 3, 3), mode="circular")
    return F.conv2d(padded, kernel[None, None]).flatten(1).T


def denoising(seed: int) -> Tensor:
    """Returns the identity."""
    return torch.eye(_SIDE**2)


# Operator and noise of each.
_OPERATORS: dict[str, tuple[Callable[[int], Tensor], float]] = {
    "50 % inpainting": (inpainting, 0.05),
    "2x super-resolution": (super_resolution, 0.05),
    "deblurring": (deblurring, 0.05),
    "denoising": (denoising, 0.25),
}
PROBLEMS = tuple(_OPERATORS)


def measure(name: str, images: Tensor, seed: int) -> Problem:
    """Returns a problem by name on images in [0, 1], (batch, 1, 8, 8)."""
    make, noise = _OPERATORS[name]
    operator = make(seed)
    clean = images.flatten(1) @ operator.T
    random = torch.Generator().manual_seed(seed + 1)
    return Problem(operator, noise, clean + noise * torch.randn(clean.shape, generator=random))


def signed_misfit(problem: Problem, x: Tensor) -> Tensor:
    """Returns the misfit of images in [-1, 1], (batch, measurements), with noise 2 sigma."""
    return 2 * problem.measured - (x.flatten(1) + 1) @ problem.operator.T


def gaussian_mean(problem: Problem, train: Tensor) -> Tensor:
    """Returns the posterior means under the Gaussian of training images, the best linear method."""
    pixels, operator = train.flatten(1).double(), problem.operator.double()
    mean, covariance = pixels.mean(0), pixels.T.cov()
    seen = operator @ covariance @ operator.T
    seen += problem.noise**2 * torch.eye(len(operator), dtype=torch.float64)
    innovation = problem.measured.double() - operator @ mean
    update = torch.linalg.solve(seen, innovation.T).T @ operator @ covariance
    return (mean + update).reshape(-1, 1, _SIDE, _SIDE).float()


def psnr(restored: Tensor, truth: Tensor) -> Tensor:
    """Returns the peak signal-to-noise ratio in dB of each image in [0, 1], (batch,)."""
    error = (restored.clamp(0, 1) - truth).square().flatten(1).mean(1)
    return -10 * error.log10()


def _basis() -> Tensor:
    return torch.eye(_SIDE**2).reshape(-1, 1, _SIDE, _SIDE)
