"""Noise that does not look at x."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.arguments import is_computed, kind_of, named_calls
from scoreregs.devices import follow
from scoreregs.errors import ArgumentError
from scoreregs.noisers.base import Noised, Noiser

__all__ = ["AntitheticNoise", "FixedNoise", "IndependentNoise"]


@named_calls
class IndependentNoise(Noiser):
    """Standard normal noise, drawn afresh for each draw of each sample."""

    @override
    def sample(self, prior, x, condition, t, generator):
        shape = (t.shape[0], *x.shape)
        return Noised(torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device))


@named_calls
class AntitheticNoise(Noiser):
    r"""Pairs $\pm \epsilon$ at one time: what is odd in the noise cancels within a sample's draws.

    The expected gradient is unchanged. Half as many times and noises are drawn as there are draws,
    whose number has to be even.

    Example:
        >>> from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> objective = ScoreRegularizedObjective.from_value(
        ...     None, prior, noiser="antithetic", draws=2
        ... )
        >>> objective(torch.zeros(1, 1)).gradient.abs()  # linear in the noise: cancels
        tensor([[0.]])
    """

    @override
    def times(self, sampler, draws, batch, device, generator):
        _check_even(draws)
        return sampler.sample(draws // 2, batch, device, generator).repeat(2, 1)

    @override
    def sample(self, prior, x, condition, t, generator):
        _check_even(len(t))
        shape = (len(t) // 2, *x.shape)
        half = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
        return Noised(torch.cat([half, -half]))


@named_calls
class FixedNoise(nn.Module, Noiser):
    """The same noise at every call.

    Nothing is averaged over the noise then, so that a baseline other than none is part of the
    gradient. The noise is a buffer that the objective's `state_dict` saves.

    Args:
        noise: epsilon, (*event), (batch, *event) or (draws, batch, *event).

    Raises:
        ArgumentError: for what is no finite floating point tensor; when called with an x or a
            number of draws of another shape.

    Example:
        >>> from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> objective = ScoreRegularizedObjective.from_value(
        ...     None, prior, times=0.5, noiser=FixedNoise(torch.ones(1))
        ... )
        >>> torch.equal(*(objective(torch.zeros(1, 1)).gradient for _ in range(2)))
        True
    """

    noise: Tensor

    def __init__(self, noise: Tensor) -> None:
        super().__init__()
        if not is_computed(noise):
            raise ArgumentError(
                f"got noise of type {kind_of(noise)}, expected a floating point tensor"
            )
        if not bool(noise.isfinite().all()):
            raise ArgumentError("got NaN or infinity in noise, expected finite numbers")
        self.register_buffer("noise", noise.detach().clone())

    @override
    def sample(self, prior, x, condition, t, generator):
        shape = torch.Size((len(t), *x.shape))
        if self.noise.shape not in (shape, shape[1:], shape[2:]):
            raise ArgumentError(
                f"got fixed noise of shape {tuple(self.noise.shape)} for {len(t)} draws of x of "
                f"shape {tuple(x.shape)}, expected {tuple(shape[2:])}, {tuple(shape[1:])} or "
                f"{tuple(shape)}"
            )
        follow(self, x.device)
        return Noised(self.noise.to(x.dtype).expand(shape))


def _check_even(draws: int) -> None:
    if draws % 2:
        raise ArgumentError(
            f"got {draws} draws of antithetic noise, expected an even number: set draws=2"
        )
