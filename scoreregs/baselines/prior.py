"""Baselines that are another prediction at the same diffused sample."""

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_floating, check_generator, named_calls
from scoreregs.baselines.base import Baseline
from scoreregs.draws import Draw, check_draw
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.priors.matched import as_matched
from scoreregs.schedules import NoiseSchedule, as_time
from scoreregs.times import TimesLike, as_times, check_times
from scoreregs.trees import Condition, check_condition

__all__ = ["PriorBaseline", "TrainedBaseline"]


@named_calls
class PriorBaseline(Baseline):
    r"""$b = \hat\epsilon_b(x_t \mid c_b, t)$: another prior, or another condition of the same one.

    The expected gradient changes: what is climbed is the density ratio $p_t / p_{b,t}$. With the
    null condition it is classifier score distillation (CSD), with that of a source SDS-Bridge. On
    another schedule the prior is matched at equal log-SNR.

    Args:
        prior: the other prior.
        condition: what it is called with, a batch of 1 or the objective's batch; by default what
            the objective is called with. It may be set between calls.

    Raises:
        ArgumentError: for a prior that is not a `ScorePrior`.

    References:
        Yu et al., Text-to-3D with Classifier Score Distillation, ICLR 2024.

    Example:
        >>> from scoreregs import NetworkPrior, ScoreRegularizedObjective, VPSchedule
        >>> prior = NetworkPrior(lambda x_t, t, condition: condition, VPSchedule())
        >>> baseline = PriorBaseline(prior, condition=torch.tensor([[1.0]]))
        >>> objective = ScoreRegularizedObjective.from_value(
        ...     None, prior, baseline=baseline, weighting="uniform"
        ... )
        >>> x, condition = torch.zeros(2, 1), torch.tensor([[3.0], [1.0]])
        >>> objective(x, condition, noise=torch.zeros(2, 1)).gradient
        tensor([[2.],
                [0.]])
    """

    def __init__(self, prior: ScorePrior, condition: Condition = None) -> None:
        check_prior_type(prior)
        self.prior = prior
        check_condition(condition)
        self.condition = condition

    @override
    def remainder(self, draw: Draw, log_weight: Tensor) -> Tensor | None:
        condition = draw.condition if self.condition is None else draw.fold(self.condition)
        with self.prior.evaluating():
            other = Draw.of(self.prior, draw.x, condition, draw.level.t, draw.noise)
            return -other.residual(log_weight)

    @override
    def under(self, schedule: NoiseSchedule) -> Baseline:
        matched = as_matched(self.prior, schedule)
        return self if matched is self.prior else PriorBaseline(matched, self.condition)


@named_calls
class TrainedBaseline(Baseline):
    r"""A prior as the baseline that is trained on x meanwhile: variational score distillation.

    $$ b = \hat\epsilon_\phi(x_t \mid c, t), \qquad
       \min_\phi\; \mathbb E_{t, \epsilon} \| \hat y_\phi(\alpha x + \sigma \epsilon \mid c, t)
       - y \|^2 $$

    The expected gradient changes: the prior of x's own distribution is subtracted. The parameters
    are yours to optimise: the objective neither holds them nor gives them a gradient, `loss` does.

    Args:
        prior: the trainable prior; a network of its own, not the objective's.
        times: the times of `loss`, as for the objective.
        generator: the source of t and noise of `loss`, on x's device; the global one by default.

    References:
        Wang et al., ProlificDreamer: High-Fidelity and Diverse Text-to-3D Generation with
        Variational Score Distillation, NeurIPS 2023.

    Example:
        >>> from scoreregs import NetworkPrior, VPSchedule
        >>> network = torch.nn.Linear(2, 2)
        >>> fake = TrainedBaseline(NetworkPrior(lambda x_t, t, c: network(x_t), VPSchedule()))
        >>> fake.loss(torch.zeros(8, 2)).backward()
        >>> network.weight.grad.shape
        torch.Size([2, 2])
    """

    def __init__(
        self,
        prior: ScorePrior,
        *,
        times: TimesLike = (0.02, 0.98),
        generator: torch.Generator | None = None,
    ) -> None:
        self._baseline = PriorBaseline(prior)
        check_generator(generator)
        self.times = as_times(times)
        self.generator = generator

    @property
    def prior(self) -> ScorePrior:
        """The trainable prior."""
        return self._baseline.prior

    @override
    def remainder(self, draw: Draw, log_weight: Tensor) -> Tensor | None:
        return self._baseline.remainder(draw, log_weight)

    @override
    def under(self, schedule: NoiseSchedule) -> Baseline:
        under = self._baseline.under(schedule)
        return self if under is self._baseline else under

    @named_calls
    def loss(
        self,
        x: Tensor,
        condition: Condition = None,
        *,
        t: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Returns the denoising score matching loss at x, with gradient to the prior alone.

        Args:
            x: what the objective moves, (batch, *event).
            condition: passed to the prior, batch first.
            t: times in place of drawn ones, (batch,).
            noise: noise in place of drawn one, (batch, *event).

        Raises:
            ArgumentError: for arguments that do not fit each other, or times outside [0, 1].
        """
        check_floating("x", x)
        x = x.detach()
        if t is None:
            t = self.times.sample(1, len(x), x.device, self.generator)[0]
        else:
            check_draw(self.prior, x, condition, t, x)
            check_times(t)
        if noise is None:
            noise = torch.randn(x.shape, generator=self.generator, dtype=x.dtype, device=x.device)
        check_draw(self.prior, x, condition, t, noise)
        return Draw.of(self.prior, x, condition, as_time(t), noise).squared_error().mean()
