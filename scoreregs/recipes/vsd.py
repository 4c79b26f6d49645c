"""Variational score distillation."""

from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior
from scoreregs.recipes.base import FitLoss, distil, trained

__all__ = ["vsd"]


@named_calls
def vsd(
    prior: ScorePrior,
    fake: ScorePrior,
    *,
    value: ValueFunction | None = None,
    **options: Unpack[ObjectiveOptions],
) -> tuple[ScoreRegularizedObjective, FitLoss]:
    """Returns variational score distillation, and the loss that trains its second prior.

    Take turns: a step on `objective(x, c).loss` for what makes x, and one on `fit(x, c)` for the
    parameters of the fake prior, by an optimiser of its own.

    Args:
        prior: the prior, guided as a rule.
        fake: the trainable prior of what makes x, as a low-rank adaptation of the prior's network.
        value: a reward to maximise beside, (batch,), against 1 / `beta` of the divergence; or None.
        **options: of the objective; the paper anneals
            `times=AnnealedTimes((0.02, 0.98), (0.02, 0.5), steps)`. Times without a state, as a
            range or `ShiftedTimes`, are those of both losses where both priors have one schedule.

    References:
        Wang et al., ProlificDreamer: High-Fidelity and Diverse Text-to-3D Generation with
        Variational Score Distillation, NeurIPS 2023.

    Example:
        >>> import torch
        >>> from scoreregs import GaussianMixturePrior, NetworkPrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> network = torch.nn.Linear(1, 1)
        >>> fake = NetworkPrior(lambda x_t, t, condition: network(x_t), VPSchedule())
        >>> objective, fit = vsd(prior, fake)
        >>> x = torch.ones(4, 1, requires_grad=True)
        >>> objective(x).loss.backward()
        >>> network.weight.grad is None
        True
        >>> fit(x).backward()
        >>> network.weight.grad is None
        False
    """
    baseline = trained(prior, fake, (0.02, 0.98), options)
    return distil("vsd", prior, {"baseline": baseline}, options, value), baseline.loss
