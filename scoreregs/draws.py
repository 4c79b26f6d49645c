r"""A draw: one evaluation of a prior at diffused samples.

What depends on more than the noise level, as some weightings and most baselines do, is given the
draw. The predicted noise and sample are computed when they are asked for.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from einops import repeat
from torch import Tensor
from typing_extensions import Self

from scoreregs.predictions import expand
from scoreregs.prior import ScorePrior
from scoreregs.schedules import NoiseLevel
from scoreregs.trees import Condition, map_tensors, repeat_rows

__all__ = ["Draw", "diffuse", "fold", "weigh"]


def diffuse(x: Tensor, noise: Tensor, level: NoiseLevel) -> Tensor:
    """Returns x_t = alpha x + sigma noise, all of shape (batch, *event)."""
    return expand(level.alpha, x) * x + expand(level.sigma, x) * noise


def weigh(log_weight: Tensor, tensor: Tensor) -> Tensor:
    """Returns exp(log_weight) tensor, for (batch,) and (batch, *event)."""
    return expand(torch.exp(log_weight), tensor) * tensor


def fold(condition: Condition, batch: int, draws: int) -> Condition:
    """Returns a condition of one row, or of `batch`, for `draws` batches one after the other.

    Raises:
        ArgumentError: where a tensor has another number of rows.
    """

    def repeated(leaf: Tensor) -> Tensor:
        return repeat(leaf, "b ... -> (k b) ...", k=draws)

    return map_tensors(repeated, repeat_rows(condition, batch))


@dataclass(frozen=True, eq=False)
class Draw:
    r"""A prior's prediction at $x_t = \alpha x + \sigma \epsilon$; every batch is (batch, *event).

    Attributes:
        prior: the prior.
        x: the clean samples, in float32 or more.
        condition: what the prior was called with, batch first.
        noise: epsilon.
        x_t: the diffused samples.
        level: the noise level, (batch,).
        output: the network's prediction.
        target: what the prediction of the noise is compared with: the noise, or what an
            inversion gives in its place.
        draws: how many draws of one batch this one consists of, one after the other.
    """

    prior: ScorePrior
    x: Tensor
    condition: Condition
    noise: Tensor
    x_t: Tensor
    level: NoiseLevel
    output: Tensor
    target: Tensor
    draws: int = 1

    @classmethod
    def of(
        cls,
        prior: ScorePrior,
        x: Tensor,
        condition: Condition,
        t: Tensor,
        noise: Tensor,
        *,
        target: Tensor | None = None,
        draws: int = 1,
    ) -> Self:
        """Returns the draw of a prior at x, with the current gradient and module modes.

        Args:
            prior: the diffusion prior.
            x: samples, (batch, *event); half precision is computed in float32.
            condition: passed to the prior, batch first.
            t: times, (batch,), in [0, 1].
            noise: epsilon, (batch, *event).
            target: what the prediction is compared with, the noise by default.
            draws: how many draws of one batch these are.

        Example:
            >>> from scoreregs import GaussianMixturePrior, VPSchedule
            >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
            >>> draw = Draw.of(prior, torch.zeros(1, 1), None, torch.ones(1), torch.ones(1, 1))
            >>> draw.epsilon.round(decimals=3), draw.denoised.round(decimals=3)
            (tensor([[1.]]), tensor([[0.0070]]))
        """
        dtype = torch.promote_types(x.dtype, torch.float32)
        x, noise = x.to(dtype), noise.to(dtype)
        level = prior.schedule.at(t)
        x_t = diffuse(x, noise, level)
        output = prior.checked_predict(x_t, level, condition)
        target = noise if target is None else target.to(dtype)
        return cls(prior, x, condition, noise, x_t, level, output, target, draws)

    @property
    def epsilon(self) -> Tensor:
        """The predicted noise."""
        prior = self.prior
        return prior.prediction.epsilon(self.output, self.x_t, self.level, prior.schedule)

    @property
    def denoised(self) -> Tensor:
        """The predicted sample, the posterior mean of x given x_t."""
        prior = self.prior
        return prior.prediction.sample(self.output, self.x_t, self.level, prior.schedule)

    @cached_property
    def difference(self) -> Tensor:
        """The output minus its target in the network's own terms, see `predictions`."""
        prior = self.prior
        return prior.prediction.difference(
            self.output, self.x, self.noise, self.level, prior.schedule
        )

    @cached_property
    def log_factor(self) -> Tensor:
        """The log c, (batch,), of epsilon_hat - epsilon = c difference."""
        return self.prior.prediction.log_factor(self.level, self.prior.schedule)

    def residual(self, log_weight: Tensor) -> Tensor:
        """Returns w (epsilon_hat - epsilon), the weight multiplied first with what may diverge."""
        return weigh(log_weight + self.log_factor, self.difference)

    def squared_error(self) -> Tensor:
        """Returns the squared difference, summed over the event, (batch,)."""
        return self.difference.square().flatten(1).sum(1)

    def fold(self, condition: Condition) -> Condition:
        """Returns a condition of one row, or of the batch's, for every row of this draw.

        Raises:
            ArgumentError: where a tensor has another number of rows.
        """
        return fold(condition, len(self.x) // self.draws, self.draws)
