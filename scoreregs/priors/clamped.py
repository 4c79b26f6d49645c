"""Priors whose predicted data keeps to a range."""

from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.trees import Condition

__all__ = ["ClampedPrior"]


@named_calls
class ClampedPrior(ScorePrior):
    r"""A prior whose predicted sample is clamped: $\hat x \in [\mathrm{low}, \mathrm{high}]$.

    It predicts the data; a clamped residual is (alpha / sigma)(x - x_hat), singular at sigma = 0.

    Args:
        prior: the prior.
        low: the smallest value of the data.
        high: the largest value of the data.

    Raises:
        ArgumentError: unless low < high.

    References:
        Ho et al., Denoising Diffusion Probabilistic Models, 2020, whose sampler clips to [-1, 1].

    Example:
        >>> import torch
        >>> from scoreregs import NetworkPrior, VPSchedule
        >>> prior = NetworkPrior(lambda x_t, t, condition: 5 + x_t, VPSchedule(), "sample")
        >>> ClampedPrior(prior).denoise(torch.zeros(1, 1), 0.5)
        tensor([[1.]])
    """

    def __init__(self, prior: ScorePrior, low: float = -1.0, high: float = 1.0) -> None:
        check_prior_type(prior)
        check_numbers(low=low, high=high)
        if not low < high:
            raise ArgumentError(f"got low={low} and high={high}, expected low < high")
        super().__init__(prior.schedule, "sample")
        self._prior = prior
        self.low, self.high = low, high

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        level = self.schedule.at(t)
        output = self._prior.checked_predict(x_t, level, condition)
        return self._prior.prediction.sample(output, x_t, level, self.schedule).clamp(
            self.low, self.high
        )
