"""DTQL's trust region: a value, and a denoising loss differentiated through the prior."""

import torch
from torch import Tensor
from typing_extensions import Unpack

from scoreregs.arguments import check_positive, named_calls
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.recipes.base import regularize
from scoreregs.schedules import NoiseLevel, as_time
from scoreregs.times import LogLogisticTimes

__all__ = ["dtql"]

# Of sigma / alpha.
_RANGE = [0.002, 80.0]


@named_calls
def dtql(
    value: ValueFunction,
    prior: ScorePrior,
    *,
    sigma_data: float = 0.5,
    **options: Unpack[ObjectiveOptions],
) -> ScoreRegularizedObjective:
    r"""Returns diffusion trusted Q-learning: the loss of a denoiser at x as a trust region.

    $$ \mathcal L(x) = \tfrac1\beta\, \mathbb E_{t, \epsilon} \Big\|
       \frac{\hat x(x_t \mid c, t) - x}{c_\mathrm{out}} \Big\|^2 - \mathrm{value}(x, c), \qquad
       c_\mathrm{out} = \frac{s\, \sigma_\mathrm{data}}{\sqrt{s^2 + \sigma_\mathrm{data}^2}},
       \quad s = \sigma / \alpha $$

    with its full gradient in x, through the prior, on any schedule.

    Args:
        value: Q(x, condition), (batch,), to be maximised.
        prior: the behavior model; the paper's is an EDM denoiser, clamped to the actions' range.
        sigma_data: the standard deviation of the data that the loss is scaled with, > 0.
        **options: of the objective; the paper's alpha is d / `beta` for actions of d dimensions, as
            it takes the mean over them.

    Raises:
        ArgumentError: unless sigma_data > 0.

    References:
        Chen et al., Diffusion Policies Creating a Trust Region for Offline Reinforcement Learning,
        NeurIPS 2024.
    """
    check_prior_type(prior)
    check_positive(sigma_data=sigma_data)

    def weight(level: NoiseLevel) -> Tensor:
        s = torch.exp(-level.bounded_log_snr / 2)
        return 2 * (s + sigma_data**2 / s) / sigma_data**2

    cleanest, noisiest = prior.schedule.log_snr(as_time([0.0, 1.0], "cpu"))
    ends = -2 * torch.log(as_time(_RANGE, "cpu"))
    low, high = prior.schedule.t_from_log_snr(ends.clamp(noisiest, cleanest)).tolist()
    defaults: ObjectiveOptions = {
        "weighting": weight,
        "times": LogLogisticTimes(prior.schedule, low=low, high=high),
        "through_prior": True,
    }
    return regularize(
        "dtql", value, prior, defaults, options, fixed=("weighting", "baseline", "through_prior")
    )
