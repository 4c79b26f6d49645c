r"""Priors in closed form: the ground truth that networks and objectives are tested against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self, override

from scoreregs.arguments import check_count, check_generator, check_has_values, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.prior import ScorePrior, times_for
from scoreregs.reprs import short
from scoreregs.schedules import NoiseLevel, NoiseSchedule, as_time
from scoreregs.trees import Condition

__all__ = ["GaussianMixturePrior"]

ArrayLike = Tensor | Sequence
MixtureFunction = Callable[[Any], tuple[Tensor, Tensor, Tensor]]


@named_calls
class GaussianMixturePrior(ScorePrior):
    r"""A mixture of Gaussians, whose diffused score and density are exact.

    $$ p_t(x_t \mid c) = \sum_k \pi_k\,
       \mathcal N\!\big(x_t;\; \alpha \mu_k,\; \alpha^2 \Sigma_k + \sigma^2 I\big) $$

    Computed in float64 and returned in x_t's dtype; finite at both ends of any schedule.

    Args:
        weights: pi, (components,), positive, summing to one.
        means: mu, (components, *event).
        covariances: Sigma, (components, d, d) with d the number of elements of an event, symmetric
            and positive definite.
        schedule: the noise schedule.

    Raises:
        ArgumentError: where shapes do not fit, weights are not a distribution, or a covariance is
            not positive definite.

    Example:
        >>> from scoreregs import VPSchedule
        >>> means, covariances = [[-1.0], [1.0]], [[[0.1]], [[0.1]]]
        >>> prior = GaussianMixturePrior([0.5, 0.5], means, covariances, VPSchedule())
        >>> prior.score(torch.zeros(1, 1), 0.3).abs()
        tensor([[0.]])
    """

    def __init__(
        self,
        weights: ArrayLike,
        means: ArrayLike,
        covariances: ArrayLike,
        schedule: NoiseSchedule,
    ) -> None:
        super().__init__(schedule, "score")
        fixed = _Mixture.of(weights, means, covariances)
        self._mixture: Callable[[Condition], _Mixture] = lambda condition: fixed
        count, event = fixed.weights.shape[1], tuple(fixed.event)
        self._told = f"({count} components of shape {event}, "

    @classmethod
    @named_calls
    def conditional(cls, mixture: MixtureFunction, schedule: NoiseSchedule) -> Self:
        """Returns a prior whose mixture is a function of the condition.

        Args:
            mixture: maps a condition of batch size b to weights (b, components), means
                (b, components, *event) and covariances (b, components, d, d).
            schedule: the noise schedule.

        Example:
            >>> from scoreregs import VPSchedule
            >>> def around(c):  # one Gaussian around each condition
            ...     return torch.ones(len(c), 1), c[:, None], torch.eye(2).expand(len(c), 1, 2, 2)
            >>> prior = GaussianMixturePrior.conditional(around, VPSchedule())
            >>> prior.score(torch.zeros(1, 2), 0.0, torch.ones(1, 2))
            tensor([[1., 1.]])
        """
        if not callable(mixture):
            raise ArgumentError(
                f"got a mixture of type {type(mixture).__name__}, expected a function of the "
                "condition that returns weights, means and covariances"
            )
        prior = cls.__new__(cls)
        ScorePrior.__init__(prior, schedule, "score")
        prior._mixture = lambda condition: _Mixture.of(*mixture(condition))
        prior._told = f"conditional({short(mixture)}, "
        return prior

    @override
    def __repr__(self) -> str:
        return f"GaussianMixturePrior{self._told}schedule={self.schedule!r})"

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        mixture = self._mixture(condition)
        log_density, whitened, variance = mixture.components(x_t, self.schedule.at(t))
        responsibility = torch.softmax(log_density, dim=1)
        pull = torch.einsum("bkij,bkj->bki", mixture.basis, whitened / variance)
        score = -torch.einsum("bk,bki->bi", responsibility, pull)
        return score.reshape(x_t.shape).to(x_t.dtype)

    @named_calls
    def log_prob(self, x_t: Tensor, t: float | Tensor = 0.0, condition: Condition = None) -> Tensor:
        """Returns the log-density of the diffused mixture at x_t, (batch,), float64.

        Args:
            x_t: noisy samples, (batch, *event); data at t = 0.
            t: a time in [0, 1], or one for each sample.
            condition: as given to `predict`.
        """
        times = times_for(x_t, t)
        log_density, *_ = self._mixture(condition).components(x_t, self.schedule.at(times))
        return torch.logsumexp(log_density, dim=1)

    @named_calls
    def draw(
        self,
        count: int,
        condition: Condition = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns `count` exact samples of the data, (count, *event), float64.

        Args:
            count: how many; the batch size of the condition where there is one.
            condition: as given to `predict`.
            generator: the source of randomness, on the mixture's device.
        """
        check_count("count", count)
        mixture = self._mixture(condition)
        check_generator(generator, mixture.means.device)
        device, dtype = mixture.means.device, mixture.means.dtype
        if len(mixture.weights) not in (1, count):
            raise ArgumentError(
                f"got count={count} for a condition of {len(mixture.weights)}, expected as many"
            )
        weights = mixture.weights.expand(count, -1)
        chosen = torch.multinomial(weights, 1, generator=generator)[:, 0]
        rows = torch.arange(count, device=device) if len(mixture.means) > 1 else 0
        scale = mixture.eigenvalues[rows, chosen].sqrt()
        noise = torch.randn(scale.shape, generator=generator, dtype=dtype, device=device)
        offset = torch.einsum("bij,bj->bi", mixture.basis[rows, chosen], scale * noise)
        return (mixture.means[rows, chosen] + offset).reshape(count, *mixture.event)


@dataclass(frozen=True)
class _Mixture:
    """A batch of mixtures (one, where it is unconditional), covariances by eigendecomposition."""

    weights: Tensor
    means: Tensor
    eigenvalues: Tensor
    basis: Tensor
    event: torch.Size

    @classmethod
    def of(cls, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> Self:
        """Returns the mixture of (batch, k, ...) parameters, or of (k, ...) ones as a batch of one.

        Raises:
            ArgumentError: where shapes do not fit.
        """
        given = {"weights": weights, "means": means, "covariances": covariances}
        w, m, c = (as_time(array, name=name) for name, array in given.items())
        got = f"weights {tuple(w.shape)}, means {tuple(m.shape)}, covariances {tuple(c.shape)}"
        if w.ndim == 1:
            w, m, c = w[None], m[None], c[None]
        size = m[:1, :1].numel() if m.ndim >= 3 else 0
        if w.ndim != 2 or m.shape[:2] != w.shape or c.shape != (*w.shape, size, size) or not size:
            raise ArgumentError(
                f"got {got}, expected (k,), (k, *event) and (k, d, d), d the number of elements of "
                "an event, all with a leading batch when conditional; a 1-D event has means (k, 1)"
            )
        for name, tensor in zip(given, (w, m, c), strict=True):
            check_has_values(name, tensor)
        if not bool(m.isfinite().all()):
            raise ArgumentError("got NaN or infinity in means, expected finite numbers")
        _check_distribution(w, c)
        eigenvalues, basis = torch.linalg.eigh(c)
        return cls(w, m.flatten(2), eigenvalues, basis, m.shape[2:])

    def components(self, x_t: Tensor, level: NoiseLevel) -> tuple[Tensor, Tensor, Tensor]:
        """Returns each component's weighted log-density, offset from its mean and variance.

        The first is (batch, k), the others (batch, k, d), in the eigenbasis of the covariance.
        """
        if x_t.shape[1:] != self.event or len(self.means) not in (1, len(x_t)):
            expected = ", ".join(map(str, ("batch", *self.event)))
            raise ArgumentError(
                f"got x of shape {tuple(x_t.shape)}, expected ({expected}) with one mixture for "
                f"each sample; there are {len(self.means)}"
            )
        alpha, sigma = level.alpha[:, None, None], level.sigma[:, None, None]
        variance = alpha.square() * self.eigenvalues + sigma.square()
        offset = as_time(x_t.flatten(1))[:, None] - alpha * self.means
        whitened = torch.einsum("bkij,bki->bkj", self.basis, offset)
        energy = whitened.square() / variance + torch.log(2 * torch.pi * variance)
        return torch.log(self.weights) - energy.sum(-1) / 2, whitened, variance


def _check_distribution(weights: Tensor, covariances: Tensor) -> None:
    """Raises `ArgumentError` unless weights and covariances are those of mixtures."""
    if not bool((weights > 0).all()) or not torch.allclose(
        weights.sum(-1), torch.ones_like(weights[:, 0]), rtol=0, atol=1e-6
    ):
        raise ArgumentError(
            f"got weights {weights[0].tolist()}, expected positive ones that sum to one: divide "
            "them by their sum"
        )
    # The looser bound is for covariances that were computed in float32.
    asymmetry = (covariances - covariances.mT).abs().max().item()
    smallest = torch.linalg.eigvalsh(covariances).min().item()
    if not (asymmetry <= 1e-5 * covariances.abs().max().item() and smallest > 0):
        raise ArgumentError(
            f"got covariances with asymmetry {asymmetry:.3g} and smallest eigenvalue "
            f"{smallest:.3g}, expected symmetric positive definite ones: add a small multiple of "
            "the identity"
        )
