r"""What baselines share.

A baseline gives what it leaves of the noise, $\epsilon - b$, so that the residual of Eq. 15 is the
native one plus a remainder:

$$ w (\hat\epsilon - b) = w (\hat\epsilon - \epsilon) + w (\epsilon - b). $$
"""

from abc import ABC, abstractmethod

from torch import Tensor

from scoreregs.draws import Draw
from scoreregs.errors import ArgumentError
from scoreregs.reprs import Constructed
from scoreregs.schedules import NoiseSchedule

__all__ = ["Baseline"]


class Baseline(Constructed, ABC):
    """What is subtracted from the predicted noise, abstract in what it leaves of the noise.

    One with state is a `torch.nn.Module` too, whose buffers an objective saves.

    Example:
        >>> from scoreregs.draws import weigh
        >>> class Half(Baseline):
        ...     def remainder(self, draw, log_weight):
        ...         return weigh(log_weight, draw.noise / 2)
    """

    @abstractmethod
    def remainder(self, draw: Draw, log_weight: Tensor) -> Tensor | None:
        """Returns w (epsilon - b), (batch, *event), or None where that is zero.

        Args:
            draw: the prior's prediction.
            log_weight: log w, (batch,).
        """

    def through_prior(self, draw: Draw, log_weight: Tensor) -> Tensor:
        """Returns the gradient in x of a loss whose residual this is, Jacobians of priors kept.

        Args:
            draw: the prior's prediction, with gradient to `draw.x`.
            log_weight: log w, (batch,), detached.

        Raises:
            ArgumentError: where the baseline belongs to no loss.
        """
        raise ArgumentError(f"got through_prior of a {type(self).__name__}, which has no loss")

    def observe(self, draw: Draw) -> None:
        """Learns from a draw, after its residual has been computed; nothing by default."""

    def under(self, schedule: NoiseSchedule) -> "Baseline":
        """Returns the baseline for a prior on this schedule."""
        return self
