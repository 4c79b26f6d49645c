"""Diff-Instruct and DMD: the distillation of a one-step generator."""

from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.recipes.base import FitLoss, distil, trained
from scoreregs.times import LogNormalTimes

__all__ = ["diff_instruct"]


@named_calls
def diff_instruct(
    prior: ScorePrior,
    fake: ScorePrior,
    *,
    value: ValueFunction | None = None,
    **options: Unpack[ObjectiveOptions],
) -> tuple[ScoreRegularizedObjective, FitLoss]:
    """Returns the distillation of a one-step generator, and the loss that trains its fake prior.

    As `vsd`, with log-normal sigma in both and DMD's normaliser as the weight; for one of time
    alone, as in Diff-Instruct's own experiments, give `weighting`.

    Args:
        prior: the prior that is distilled.
        fake: the trainable prior of what the generator makes.
        value: a reward to maximise beside, (batch,), against 1 / `beta` of the divergence; or None.
        **options: of the objective; times as for `vsd`.

    References:
        Luo et al., Diff-Instruct, NeurIPS 2023; Yin et al., One-step Diffusion with Distribution
        Matching Distillation, CVPR 2024.
    """
    check_prior_type(fake)
    baseline = trained(prior, fake, LogNormalTimes(fake.schedule), options)
    defaults: ObjectiveOptions = {
        "weighting": "dmd",
        "baseline": baseline,
        "times": LogNormalTimes(prior.schedule),
    }
    return distil("diff_instruct", prior, defaults, options, value), baseline.loss
