"""RED-diff: inverse problems by descending times."""

from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior
from scoreregs.recipes.base import regularize
from scoreregs.times import DescendingTimes

__all__ = ["red_diff"]


@named_calls
def red_diff(
    value: ValueFunction, prior: ScorePrior, *, steps: int, **options: Unpack[ObjectiveOptions]
) -> ScoreRegularizedObjective:
    """Returns RED-diff for inverse problems: a data fit, regularised at descending times.

    Args:
        value: minus the data misfit of each sample, (batch,); whether it sums or averages over
            measurements decides what beta means.
        prior: the prior of the data.
        steps: how many calls lead from the noisiest time to the cleanest.
        **options: of the objective; 1 / `beta` is the paper's lambda, here .25. The loss is summed
            over the batch, so that x.grad is g.

    Raises:
        ArgumentError: for times that do not descend in `steps` steps, or a residual through the
            prior.

    References:
        Mardani et al., A Variational Perspective on Solving Inverse Problems with Diffusion Models,
        ICLR 2024.

    Example:
        >>> import torch
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> measured = torch.tensor([[2.0]])
        >>> def value(x, condition):
        ...     return -0.5 * (x - measured).square().sum(-1)
        >>> x = torch.zeros(1, 1, requires_grad=True)
        >>> objective, optimizer = red_diff(value, prior, steps=50), torch.optim.Adam([x], lr=0.1)
        >>> for _ in range(50):
        ...     optimizer.zero_grad()
        ...     objective(x).loss.backward()
        ...     optimizer.step()
    """
    times = options.get("times", DescendingTimes(steps))
    if not isinstance(times, DescendingTimes) or times.steps != steps:
        raise ArgumentError(
            f"got times={times!r} for red_diff with steps={steps}, expected times that "
            f"descend in as many: DescendingTimes({steps}, over=(0.02, 0.98)), or another range"
        )
    defaults: ObjectiveOptions = {
        "beta": 4.0,
        "weighting": "sigma_over_alpha",
        "times": times,
        "reduction": "sum",
    }
    return regularize("red_diff", value, prior, defaults, options)
