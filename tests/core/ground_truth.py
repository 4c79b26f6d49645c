"""Eq. 14 of SRPO by quadrature, in numpy and scipy alone: nothing of the library is used here.

The regulariser is R(x) = E_t w(t) (sigma / alpha) KL[N(alpha x, sigma^2 I) || mu_t], t uniform. The
KL divergence is integrated on a fixed grid of x_t (the trapezoidal rule, spectrally accurate for
such integrands), the gradient is a central difference in x. The library's side of each comparison
is integrated over the noise by Gauss-Hermite, so that the two share no node.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from scoreregs import GaussianMixturePrior, VPSchedule
from scoreregs.weightings import WeightingLike

BETA_MIN, BETA_MAX = 0.1, 20.0
TIMES = (0.02, 0.98)


def vp_scales(t: float) -> tuple[float, float]:
    """alpha and sigma of VP-linear, by the formula of the paper."""
    alpha = float(np.exp(-(t**2) * (BETA_MAX - BETA_MIN) / 4 - t * BETA_MIN / 2))
    return alpha, float(np.sqrt(1 - alpha**2))


WEIGHTS: dict[str, Callable[[float, float], float]] = {
    "sigma2": lambda alpha, sigma: sigma**2,
    "uniform": lambda alpha, sigma: 1.0,
    "alpha_over_sigma": lambda alpha, sigma: alpha / sigma,
    "callable": lambda alpha, sigma: alpha * sigma**3,
}


# The objective's argument for each of them.
WEIGHTINGS: dict[str, WeightingLike] = {
    "sigma2": "sigma2",
    "uniform": "uniform",
    "alpha_over_sigma": "alpha_over_sigma",
    "callable": lambda level: level.alpha * level.sigma**3,
}


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture: weights (k,), means (k, d), covariances (k, d, d)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @classmethod
    def of(cls, weights: list, means: list, covariances: list) -> "Mixture":
        return cls(np.array(weights), np.array(means), np.array(covariances))

    def log_density(self, x_t: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """log mu_t at (n, d) points."""
        eye = np.eye(self.means.shape[1])
        components = [
            np.log(weight)
            + multivariate_normal(alpha * mean, alpha**2 * covariance + sigma**2 * eye).logpdf(x_t)
            for weight, mean, covariance in zip(
                self.weights, self.means, self.covariances, strict=True
            )
        ]
        return np.asarray(logsumexp(np.array(components).reshape(len(components), -1), axis=0))

    def prior(self) -> GaussianMixturePrior:
        return GaussianMixturePrior(*self.tensors(), VPSchedule())

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return (
            torch.from_numpy(self.weights),
            torch.from_numpy(self.means),
            torch.from_numpy(self.covariances),
        )


MIXTURES = {
    "1-D unimodal": Mixture.of([1.0], [[0.4]], [[[0.25]]]),
    "1-D multimodal": Mixture.of(
        [0.5, 0.3, 0.2], [[-1.0], [0.8], [0.1]], [[[0.1]], [[0.2]], [[0.5]]]
    ),
    "2-D unimodal": Mixture.of([1.0], [[0.3, -0.5]], [[[0.5, 0.3], [0.3, 0.4]]]),
    "2-D multimodal": Mixture.of(
        [0.6, 0.4],
        [[-0.7, 0.4], [0.8, -0.2]],
        [[[0.3, 0.15], [0.15, 0.25]], [[0.5, -0.3], [-0.3, 0.4]]],
    ),
}


def time_nodes(count: int, times: tuple[float, float] = TIMES) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights of the mean over uniform times."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return times[0] + (times[1] - times[0]) * (nodes + 1) / 2, weights / 2


def noise_nodes(count: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite nodes (n, d) and weights (n,) of the mean over standard normal noise."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    weights = weights / weights.sum()
    grid = np.stack(np.meshgrid(*[nodes] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    product = np.stack(np.meshgrid(*[weights] * dimension, indexing="ij"), -1)
    return grid, product.prod(-1).ravel()


def time_and_noise_nodes(
    time_count: int, noise_count: int, dimension: int, times: tuple[float, float] = TIMES
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Product nodes t (n,), noise (n, d) and weights (n,) of E over both, as float64 tensors."""
    t, t_weights = time_nodes(time_count, times)
    noise, noise_weights = noise_nodes(noise_count, dimension)
    return (
        torch.from_numpy(np.repeat(t, len(noise))),
        torch.from_numpy(np.tile(noise, (len(t), 1))),
        torch.from_numpy(np.outer(t_weights, noise_weights).ravel()),
    )


class KullbackLeibler:
    """KL[N(alpha x, sigma^2 I) || mu_t] as a function of x near a centre, on a grid fixed there."""

    def __init__(self, mixture: Mixture, t: float, centre: np.ndarray) -> None:
        self.alpha, self.sigma = vp_scales(t)
        step, reach = self.sigma / 5, 9 * self.sigma
        axis = np.arange(-reach, reach + step / 2, step)
        offsets = np.stack(np.meshgrid(*[axis] * len(centre), indexing="ij"), -1)
        self.grid = self.alpha * centre + offsets.reshape(-1, len(centre))
        self.cell = step ** len(centre)
        self.log_mu = mixture.log_density(self.grid, self.alpha, self.sigma)

    def __call__(self, x: np.ndarray) -> float:
        square = ((self.grid - self.alpha * x) ** 2).sum(-1) / self.sigma**2
        log_q = -square / 2 - len(x) / 2 * np.log(2 * np.pi * self.sigma**2)
        return float((np.exp(log_q) * (log_q - self.log_mu)).sum() * self.cell)


def central_difference(
    function: Callable[[np.ndarray], float], x: np.ndarray, step: float
) -> np.ndarray:
    """The gradient of a function at x, of the sixth order in the step."""
    gradient = np.zeros_like(x)
    for i in range(len(x)):
        h = np.zeros_like(x)
        h[i] = step
        pairs = [function(x + k * h) - function(x - k * h) for k in (1, 2, 3)]
        gradient[i] = (45 * pairs[0] - 9 * pairs[1] + pairs[2]) / (60 * step)
    return gradient


def regulariser_gradient(
    mixture: Mixture, x: np.ndarray, weight: Callable[[float, float], float], time_count: int
) -> np.ndarray:
    """The gradient in x of the second term of Eq. 14 without 1 / beta."""
    total = np.zeros_like(x)
    for t, share in zip(*time_nodes(time_count), strict=True):
        divergence = KullbackLeibler(mixture, float(t), x)
        alpha, sigma = divergence.alpha, divergence.sigma
        # Steps in units of the kernel's width, so that each time is resolved equally well.
        slope = central_difference(divergence, x, 0.02 * sigma / alpha)
        total += share * weight(alpha, sigma) * sigma / alpha * slope
    return total
