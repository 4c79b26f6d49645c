"""A second prior as the baseline, with the loss that both are differentiated through."""

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_positive, named_calls
from scoreregs.baselines.base import Baseline
from scoreregs.baselines.prior import PriorBaseline
from scoreregs.draws import Draw
from scoreregs.prior import ScorePrior
from scoreregs.priors.matched import as_matched
from scoreregs.schedules import NoiseSchedule
from scoreregs.trees import Condition

__all__ = ["ScoreIdentityBaseline"]


@named_calls
class ScoreIdentityBaseline(PriorBaseline):
    r"""$b = \hat\epsilon_\phi$ of a fake prior, with the loss of score identity distillation.

    With $\Delta = \hat x - \hat x_\phi$, the predicted samples of both at the same $x_t$,

    $$ \mathcal L(x) = w \tfrac\alpha\sigma \big[ (1 - a) \langle k \Delta, \Delta \rangle
       + \langle k \Delta, \hat x_\phi - x \rangle \big] $$

    estimates the Fisher divergence between what x is a sample of and the data; k is 1, or
    $1 / \sqrt{\| \Delta \|^2 + c^2}$ for the pseudo-Huber distance in its place. Under
    `through_prior=True` its gradient goes through both priors; without their Jacobians it is that
    of `PriorBaseline`, for k = 1.

    Args:
        prior: the fake prior; `TrainedBaseline.loss` trains it.
        a: the paper's alpha, > 0; 1 leaves the squared difference out.
        huber: c > 0 of the pseudo-Huber distance, or None for the squared one.
        condition: as for `PriorBaseline`.

    Raises:
        ArgumentError: for an argument outside its range.

    References:
        Zhou et al., Score identity Distillation, ICML 2024, Eq. 23; Luo et al., Diff-Instruct*:
        Towards Human-Preferred One-step Text-to-image Generative Models, 2024, for pseudo-Huber.
    """

    def __init__(
        self,
        prior: ScorePrior,
        a: float = 1.2,
        huber: float | None = None,
        condition: Condition = None,
    ) -> None:
        super().__init__(prior, condition)
        check_positive(a=a, **{} if huber is None else {"huber": huber})
        self.a, self.huber = a, huber

    @override
    def through_prior(self, draw: Draw, log_weight: Tensor) -> Tensor:
        condition = draw.condition if self.condition is None else draw.fold(self.condition)
        with self.prior.evaluating(), torch.enable_grad():
            fake = Draw.of(self.prior, draw.x, condition, draw.level.t, draw.noise).denoised
            difference = (draw.denoised - fake).flatten(1)
            square = difference.square().sum(1)
            divergence = (1 - self.a) * square + (difference * (fake - draw.x).flatten(1)).sum(1)
            if self.huber is not None:
                divergence = divergence / torch.sqrt(square + self.huber**2)
            weight = torch.exp(log_weight + draw.level.bounded_log_snr / 2).to(divergence.dtype)
            (gradient,) = torch.autograd.grad((weight * divergence).sum(), draw.x)
        return gradient

    @override
    def under(self, schedule: NoiseSchedule) -> Baseline:
        matched = as_matched(self.prior, schedule)
        if matched is self.prior:
            return self
        return ScoreIdentityBaseline(matched, self.a, self.huber, self.condition)
