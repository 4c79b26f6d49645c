"""The noise, scaled for the smallest variance."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.arguments import check_count, check_decay, named_calls
from scoreregs.baselines.base import Baseline
from scoreregs.devices import follow
from scoreregs.draws import Draw, weigh

__all__ = ["OptimalNoiseBaseline"]


@named_calls
class OptimalNoiseBaseline(nn.Module, Baseline):
    r"""$b = c(t)\, \epsilon$ with c estimated from past batches: the expectation is unchanged.

    $$ c^*(t) = \frac{\mathbb E \langle \hat\epsilon, \epsilon \rangle}
                     {\mathbb E \| \epsilon \|^2} $$

    leaves the smallest variance at a time. It is kept for bins of t as a running mean, which takes
    a batch in only after that batch's residual has been computed: a c that knows its own noise
    would bias the gradient. It starts as the noise baseline, is a buffer that the objective's
    `state_dict` saves, and stands still in eval mode.

    Args:
        bins: how many bins divide [0, 1].
        decay: what a bin keeps of its past when a batch visits it, in [0, 1).

    Raises:
        ArgumentError: for an argument outside its range.

    Example:
        >>> from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> baseline = OptimalNoiseBaseline(bins=1)
        >>> objective = ScoreRegularizedObjective.from_value(None, prior, baseline=baseline)
        >>> noise = torch.tensor([[-1.0], [1.0]])
        >>> for _ in range(1000):  # for N(0, 1) c*(t) is sigma^2, .92 at t = .5
        ...     result = objective(torch.zeros(2, 1), t=0.5, noise=noise)
        >>> baseline.coefficient
        tensor([0.9209])
    """

    excess: Tensor
    power: Tensor

    def __init__(self, bins: int = 50, decay: float = 0.99) -> None:
        super().__init__()
        check_count("bins", bins)
        check_decay(decay)
        self.bins, self.decay = bins, decay
        # <epsilon_hat - epsilon, epsilon> and |epsilon|^2; one sample's worth of c = 1 to start.
        self.register_buffer("excess", torch.zeros(bins, dtype=torch.float32))
        self.register_buffer("power", torch.ones(bins, dtype=torch.float32))

    @property
    def coefficient(self) -> Tensor:
        """The estimate of c, (bins,)."""
        return 1 + self.excess / self.power

    @override
    def remainder(self, draw: Draw, log_weight: Tensor) -> Tensor | None:
        follow(self, draw.x.device)
        left = -(self.excess / self.power)[self._bin(draw.level.t)]
        return weigh(log_weight, left.reshape(-1, *[1] * (draw.x.ndim - 1)) * draw.noise)

    @override
    @torch.no_grad()
    def observe(self, draw: Draw) -> None:
        follow(self, draw.x.device)
        residual = draw.residual(torch.zeros_like(draw.level.t))
        excess = (residual * draw.noise).flatten(1).mean(1).float()
        power = draw.noise.square().flatten(1).mean(1).float()
        # At a singular time only the weighted residual is finite; such a sample tells nothing.
        known = excess.isfinite()
        bins = torch.arange(len(self.power), device=draw.x.device)
        visits = ((self._bin(draw.level.t)[:, None] == bins) & known[:, None]).float()
        kept = torch.where(visits.any(0), self.decay, 1.0)
        self.excess.mul_(kept).add_(torch.where(known, excess, 0.0) @ visits)
        self.power.mul_(kept).add_(power @ visits)

    def _bin(self, t: Tensor) -> Tensor:
        return (t * len(self.power)).long().clamp(0, len(self.power) - 1)
