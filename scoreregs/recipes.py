r"""Published variants, each a combination of plug-ins.

A recipe returns a `ScoreRegularizedObjective`; g below is the gradient that x receives, for each
sample. Every option of the objective may be given and replaces the recipe's own. Guidance belongs
to the prior: wrap it in `GuidedPrior`.

| recipe | g |
|---|---|
| `srpo` | $\tfrac1\beta \sigma^2 (\hat\epsilon - \epsilon) - \nabla_x \mathrm{value}$ |
| `sds` | $\sigma^2 (\hat\epsilon - \epsilon)$ |
| `sjc` | $\hat\epsilon - \epsilon$ |
| `csd` | $\sigma^2 (\hat\epsilon_c - \hat\epsilon_\varnothing)$ |
| `nfsd` | $\sigma^2 (s (\hat\epsilon_c - \hat\epsilon_\varnothing) + \hat\epsilon_\varnothing - [t \ge .2]\, \hat\epsilon_-)$ |
| `dds` | $\hat\epsilon_c(x_t) - \hat\epsilon_{c_r}(x_{r,t})$ |
| `vsd` | $\sigma^2 (\hat\epsilon - \hat\epsilon_\phi)$ |
| `red_diff` | $\tfrac1\beta \tfrac\sigma\alpha (\hat\epsilon - \epsilon) - \nabla_x \mathrm{value}$ |
| `diff_instruct` | $(\hat x_\phi - \hat x) / \operatorname{mean} \lvert x - \hat x \rvert$ |
"""  # noqa: E501

from collections.abc import Callable

from torch import Tensor
from typing_extensions import Unpack

from scoreregs.baselines import PriorBaseline, ReferenceBaseline, TrainedBaseline
from scoreregs.objective import ScoreRegularizedObjective
from scoreregs.options import ObjectiveOptions, ValueFunction
from scoreregs.prior import ScorePrior
from scoreregs.priors.combined import CombinedPrior, Term
from scoreregs.times import DescendingTimes, LogNormalTimes
from scoreregs.trees import Condition

__all__ = [
    "csd",
    "dds",
    "diff_instruct",
    "nfsd",
    "red_diff",
    "sds",
    "sjc",
    "srpo",
    "vsd",
]

FitLoss = Callable[..., Tensor]


def srpo(
    value: ValueFunction, prior: ScorePrior, **options: Unpack[ObjectiveOptions]
) -> ScoreRegularizedObjective:
    """Returns score-regularised policy optimisation: the objective as it is by default.

    Args:
        value: Q(x, condition), (batch,), to be maximised.
        prior: the behavior model.
        **options: of the objective; `beta` is the paper's temperature.

    References:
        Chen et al., Score Regularized Policy Optimization through Diffusion Behavior, ICLR 2024.
    """
    return ScoreRegularizedObjective.from_value(value, prior, **options)


def sds(prior: ScorePrior, **options: Unpack[ObjectiveOptions]) -> ScoreRegularizedObjective:
    """Returns score distillation sampling.

    Args:
        prior: the prior, guided as a rule: `GuidedPrior(prior, scale=100.0, null=null)`.
        **options: of the objective.

    References:
        Poole et al., DreamFusion: Text-to-3D using 2D Diffusion, ICLR 2023.

    Example:
        >>> import torch
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> x = torch.ones(4, 1, requires_grad=True)
        >>> sds(prior)(x).loss.backward()
    """
    return _distil(prior, {"weighting": "sigma2"}, options)


def sjc(prior: ScorePrior, **options: Unpack[ObjectiveOptions]) -> ScoreRegularizedObjective:
    """Returns score Jacobian chaining, whose residual is the same under every schedule.

    Args:
        prior: the prior; what the paper does on VE follows from the log-SNR alone.
        **options: of the objective; `baseline="none"` is the paper's without variance reduction.

    References:
        Wang et al., Score Jacobian Chaining: Lifting Pretrained 2D Diffusion Models for 3D
        Generation, CVPR 2023.
    """
    return _distil(prior, {"weighting": "uniform"}, options)


def csd(
    prior: ScorePrior, null: Condition, **options: Unpack[ObjectiveOptions]
) -> ScoreRegularizedObjective:
    """Returns classifier score distillation: the guidance term alone.

    Args:
        prior: the conditional prior.
        null: the null or a negative condition, a batch of 1 or the objective's.
        **options: of the objective.

    References:
        Yu et al., Text-to-3D with Classifier Score Distillation, ICLR 2024.
    """
    return _distil(prior, {"baseline": PriorBaseline(prior, null)}, options)


def nfsd(
    prior: ScorePrior,
    null: Condition,
    negative: Condition,
    *,
    scale: float = 7.5,
    **options: Unpack[ObjectiveOptions],
) -> ScoreRegularizedObjective:
    """Returns noise-free score distillation: the prior's part that is no noise, and guidance.

    Args:
        prior: the conditional prior.
        null: the null condition, a batch of 1 or the objective's.
        negative: the condition of bad samples, likewise; subtracted from t = .2 on.
        scale: s of the guidance.
        **options: of the objective.

    References:
        Katzir et al., Noise-Free Score Distillation, ICLR 2024.
    """
    parts = CombinedPrior(
        [
            Term(prior, scale),
            Term(prior, 1 - scale, null),
            Term(prior, lambda level: -(level.t >= 0.2).to(level.t.dtype), negative),
        ]
    )
    return _distil(parts, {"baseline": "none"}, options)


def dds(
    prior: ScorePrior,
    reference: Tensor,
    condition: Condition,
    **options: Unpack[ObjectiveOptions],
) -> ScoreRegularizedObjective:
    """Returns the delta denoising score, which edits a reference.

    Args:
        prior: the conditional prior, guided as a rule.
        reference: what is edited, a batch of 1 or the objective's, where x starts.
        condition: what the reference shows; the objective is called with what x shall show.
        **options: of the objective.

    References:
        Hertz et al., Delta Denoising Score, ICCV 2023.
    """
    baseline = ReferenceBaseline(reference, condition)
    return _distil(prior, {"weighting": "uniform", "baseline": baseline}, options)


def vsd(
    prior: ScorePrior, fake: ScorePrior, **options: Unpack[ObjectiveOptions]
) -> tuple[ScoreRegularizedObjective, FitLoss]:
    """Returns variational score distillation, and the loss that trains its second prior.

    Take turns: a step on `objective(x, c).loss` for what makes x, and one on `fit(x, c)` for the
    parameters of the fake prior, by an optimiser of its own.

    Args:
        prior: the prior, guided as a rule.
        fake: the trainable prior of what makes x, as a low-rank adaptation of the prior's network.
        **options: of the objective; the paper anneals
            `times=AnnealedTimes((0.02, 0.98), (0.02, 0.5), steps)`.

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
    baseline = TrainedBaseline(fake, generator=options.get("generator"))
    return _distil(prior, {"baseline": baseline}, options), baseline.loss


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
    defaults: ObjectiveOptions = {
        "beta": 4.0,
        "weighting": "sigma_over_alpha",
        "times": DescendingTimes(steps),
        "reduction": "sum",
    }
    return ScoreRegularizedObjective.from_value(value, prior, **{**defaults, **options})


def diff_instruct(
    prior: ScorePrior, fake: ScorePrior, **options: Unpack[ObjectiveOptions]
) -> tuple[ScoreRegularizedObjective, FitLoss]:
    """Returns the distillation of a one-step generator, and the loss that trains its fake prior.

    As `vsd`, with log-normal sigma in both and DMD's normaliser as the weight; for one of time
    alone, as in Diff-Instruct's own experiments, give `weighting`.

    Args:
        prior: the prior that is distilled.
        fake: the trainable prior of what the generator makes.
        **options: of the objective.

    References:
        Luo et al., Diff-Instruct, NeurIPS 2023; Yin et al., One-step Diffusion with Distribution
        Matching Distillation, CVPR 2024.
    """
    baseline = TrainedBaseline(
        fake, times=LogNormalTimes(fake.schedule), generator=options.get("generator")
    )
    defaults: ObjectiveOptions = {
        "weighting": "dmd",
        "baseline": baseline,
        "times": LogNormalTimes(prior.schedule),
    }
    return _distil(prior, defaults, options), baseline.loss


def _distil(
    prior: ScorePrior, defaults: ObjectiveOptions, options: ObjectiveOptions
) -> ScoreRegularizedObjective:
    return ScoreRegularizedObjective.from_value(None, prior, **{**defaults, **options})
