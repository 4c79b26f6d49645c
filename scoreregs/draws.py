r"""A draw: one evaluation of a prior at diffused samples.

What depends on more than the noise level, as some weightings and most baselines do, is given the
draw. The predicted noise and sample are computed when they are asked for.
"""

from dataclasses import dataclass, field

import torch
from einops import repeat
from torch import Tensor
from typing_extensions import Self

from scoreregs.arguments import check_floating
from scoreregs.errors import ArgumentError
from scoreregs.predictions import cast, expand
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.reprs import Constructed
from scoreregs.schedules import NoiseLevel
from scoreregs.trees import Condition, check_condition, map_tensors, repeat_rows

__all__ = ["Draw", "at_least_single", "check_draw", "diffuse", "fold", "repeated", "weigh"]


def at_least_single(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype that x is computed in: its own, or float32 for a half type."""
    # In place of promote_types, which is an operation like any other.
    return dtype if dtype == torch.float64 else torch.float32


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
    if condition is None:
        return None
    rows = repeat_rows(condition, batch)
    return rows if draws == 1 else map_tensors(lambda leaf: repeated(leaf, draws), rows)


def repeated(x: Tensor, draws: int) -> Tensor:
    """Returns a batch `draws` times, one after the other.

    Raises:
        ArgumentError: for rows of other lengths.
    """
    if draws > 1 and x.is_nested:
        raise ArgumentError(
            f"got a nested tensor for draws={draws}, expected draws=1, as torch cannot repeat it: "
            "or pad it and give its lengths or mask beside it"
        )
    return x if draws == 1 else repeat(x, "b ... -> (k b) ...", k=draws)


def check_draw(prior: object, x: Tensor, condition: Condition, t: object, noise: object) -> None:
    """Raises `ArgumentError` unless a draw can be made of these, as far as their shapes tell."""
    check_prior_type(prior)
    check_floating("x", x)
    check_condition(condition, len(x))
    if not isinstance(t, Tensor) or not t.is_floating_point() or t.shape != x.shape[:1]:
        got = tuple(t.shape) if isinstance(t, Tensor) else type(t).__name__
        raise ArgumentError(
            f"got t={got}, expected floating point times in [0, 1] of shape ({len(x)},), one for "
            "each sample: use torch.full((len(x),), t)"
        )
    if not isinstance(noise, Tensor) or not noise.is_floating_point() or noise.shape != x.shape:
        got = tuple(noise.shape) if isinstance(noise, Tensor) else type(noise).__name__
        raise ArgumentError(f"got noise={got}, expected that of x, of shape {tuple(x.shape)}")


@dataclass(frozen=True, eq=False, repr=False)
class Draw(Constructed):
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
    # What was computed once. Not a `functools.cached_property`, whose lock torch.compile refuses.
    _known: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

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
        dtype = at_least_single(x.dtype)
        x, noise = cast(x, dtype), cast(noise, dtype)
        level = prior.schedule.at(t)
        x_t = diffuse(x, noise, level)
        output = prior.checked_predict(x_t, level, condition)
        target = noise if target is None else cast(target, dtype)
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

    @property
    def difference(self) -> Tensor:
        """The output minus its target in the network's own terms, see `predictions`."""
        if "difference" not in self._known:
            prior = self.prior
            self._known["difference"] = prior.prediction.difference(
                self.output, self.x, self.noise, self.level, prior.schedule
            )
        return self._known["difference"]

    @property
    def log_factor(self) -> Tensor:
        """The log c, (batch,), of epsilon_hat - epsilon = c difference."""
        if "log_factor" not in self._known:
            prior = self.prior
            self._known["log_factor"] = prior.prediction.log_factor(self.level, prior.schedule)
        return self._known["log_factor"]

    def residual(self, log_weight: Tensor) -> Tensor:
        """Returns w (epsilon_hat - epsilon), the weight multiplied first with what may diverge."""
        if not self.prior.prediction.has_unit_factor:
            log_weight = log_weight + self.log_factor
        return weigh(log_weight, self.difference)

    def squared_error(self) -> Tensor:
        """Returns the squared difference, summed over the event, (batch,)."""
        return self.difference.square().flatten(1).sum(1)

    def fold(self, condition: Condition) -> Condition:
        """Returns a condition of one row, or of the batch's, for every row of this draw.

        Raises:
            ArgumentError: where a tensor has another number of rows.
        """
        return fold(condition, len(self.x) // self.draws, self.draws)
