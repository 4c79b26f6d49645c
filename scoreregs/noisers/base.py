"""What noisers share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreregs.prior import ScorePrior
from scoreregs.reprs import Constructed
from scoreregs.times import TimeSampler
from scoreregs.trees import Condition

__all__ = ["Noised", "Noiser"]


@dataclass(frozen=True)
class Noised:
    """What samples are diffused with.

    Attributes:
        noise: epsilon of x_t = alpha x + sigma epsilon, (draws, batch, *event).
        target: what the noise baseline subtracts from the predicted noise, of the noise's shape;
            the noise itself where it is None.
    """

    noise: Tensor
    target: Tensor | None = None


class Noiser(Constructed, ABC):
    """How times and noise are drawn, abstract in `sample`.

    One with state is a `torch.nn.Module` too, whose buffers an objective saves.

    Example:
        >>> class Zero(Noiser):
        ...     def sample(self, prior, x, condition, t, generator):
        ...         return Noised(torch.zeros(len(t), *x.shape))
    """

    def times(
        self,
        sampler: TimeSampler,
        draws: int,
        batch: int,
        device: torch.device,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Returns the times that the noise is drawn for, (draws, batch); by default the sampler's.

        Raises:
            ArgumentError: for a number of draws that does not suit the noise.
        """
        return sampler.sample(draws, batch, device, generator)

    @abstractmethod
    def sample(
        self,
        prior: ScorePrior,
        x: Tensor,
        condition: Condition,
        t: Tensor,
        generator: torch.Generator | None,
    ) -> Noised:
        """Returns the noise of x at times t.

        Args:
            prior: the objective's prior, in eval mode.
            x: samples, (batch, *event), detached.
            condition: what the objective was called with.
            t: times, (draws, batch).
            generator: the source of randomness.
        """
