"""What weightings share."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.draws import Draw
from scoreregs.prior import ScorePrior
from scoreregs.reprs import Constructed
from scoreregs.schedules import NoiseLevel

__all__ = ["TimeWeighting", "Weighting"]


class Weighting(Constructed, ABC):
    """A weight w >= 0 of the residual, abstract in its logarithm.

    It gives the logarithm because a weight that vanishes and a residual that diverges at the same
    time have a finite product only when they are multiplied first.
    """

    @abstractmethod
    def log_weight_of(self, draw: Draw) -> Tensor:
        """Returns log w, (batch,), of a draw; -inf where the weight is zero."""

    def is_singular(self, prior: ScorePrior, level: NoiseLevel) -> Tensor:
        """Returns where the weighted residual is never finite, (batch,), as far as times tell."""
        return torch.zeros_like(level.t, dtype=torch.bool)


class TimeWeighting(Weighting):
    """A weight w(t), a function of the `NoiseLevel`, where possible of its log-SNR alone.

    Then it means the same for every schedule.
    """

    @abstractmethod
    def log_weight(self, level: NoiseLevel) -> Tensor:
        """Returns log w, (batch,), at a noise level; -inf where the weight is zero."""

    def __call__(self, level: NoiseLevel) -> Tensor:
        """Returns w, (batch,), at a noise level."""
        return torch.exp(self.log_weight(level))

    @override
    def log_weight_of(self, draw: Draw) -> Tensor:
        return self.log_weight(draw.level)

    @override
    def is_singular(self, prior: ScorePrior, level: NoiseLevel) -> Tensor:
        ones = torch.ones_like(level.t)[:, None]
        probe = Draw(prior, ones, None, ones, ones, level, torch.zeros_like(ones), ones)
        log_weight = self.log_weight(level)
        residual = probe.residual(log_weight)[:, 0]
        return ~(residual.isfinite() & torch.exp(log_weight).isfinite())
