"""SiD and Diff-Instruct*: one-step generators by a divergence that goes through both priors."""

from typing_extensions import Unpack

from scoreregs.arguments import named_calls
from scoreregs.baselines import ScoreIdentityBaseline
from scoreregs.errors import ArgumentError
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior
from scoreregs.recipes.base import FitLoss, distil, trained

__all__ = ["di_star", "sid"]


@named_calls
def sid(
    prior: ScorePrior,
    fake: ScorePrior,
    *,
    value: ValueFunction | None = None,
    a: float = 1.2,
    **options: Unpack[ObjectiveOptions],
) -> tuple[ScoreRegularizedObjective, FitLoss]:
    """Returns score identity distillation of a one-step generator, and its fake prior's loss.

    The loss of the fake prior and the turns are those of `vsd`; `Distillation` takes them.

    Args:
        prior: the prior that is distilled.
        fake: the trainable prior of what the generator makes; start it from the prior's weights.
        value: a reward to maximise beside, (batch,), or None.
        a: the paper's alpha: 1, or 1.2 for a loss that may be negative and converges faster.
        **options: of the objective; times as for `vsd`.

    References:
        Zhou et al., Score identity Distillation: Exponentially Fast Distillation of Pretrained
        Diffusion Models for One-Step Generation, ICML 2024.
    """
    return _identity(prior, fake, value, ScoreIdentityBaseline(fake, a), options)


@named_calls
def di_star(
    value: ValueFunction,
    prior: ScorePrior,
    fake: ScorePrior,
    *,
    huber: float = 0.01,
    **options: Unpack[ObjectiveOptions],
) -> tuple[ScoreRegularizedObjective, FitLoss]:
    """Returns Diff-Instruct*: a reward, and a pseudo-Huber score divergence in place of a KL.

    Args:
        value: the reward to maximise, (batch,).
        prior: the reference model.
        fake: the trainable prior of what the generator makes.
        huber: c of the pseudo-Huber distance, in units of the data.
        **options: of the objective; 1 / `beta` weighs the divergence.

    References:
        Luo et al., Diff-Instruct*: Towards Human-Preferred One-step Text-to-image Generative
        Models, 2024.
    """
    if value is None or huber is None:
        raise ArgumentError(
            f"got value={value!r} and huber={huber!r}, expected a reward and a number > 0: `sid` "
            "does without either"
        )
    return _identity(prior, fake, value, ScoreIdentityBaseline(fake, 1.0, huber), options)


def _identity(
    prior: ScorePrior,
    fake: ScorePrior,
    value: ValueFunction | None,
    baseline: ScoreIdentityBaseline,
    options: ObjectiveOptions,
) -> tuple[ScoreRegularizedObjective, FitLoss]:
    times = (0.02, 0.8)
    own = trained(prior, fake, (0.02, 0.98), options)
    defaults: ObjectiveOptions = {
        "weighting": "uniform" if baseline.huber else "dmd",
        "baseline": baseline,
        "times": times,
        "through_prior": True,
    }
    name = "di_star" if baseline.huber else "sid"
    return distil(name, prior, defaults, options, value), own.loss
