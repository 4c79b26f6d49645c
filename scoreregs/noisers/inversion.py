"""Noise that the prior itself finds in x."""

from typing import Literal

import torch
from einops import rearrange, repeat
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_choice, check_count, check_numbers, named_calls
from scoreregs.draws import fold
from scoreregs.errors import ArgumentError
from scoreregs.noisers.base import Noised, Noiser
from scoreregs.predictions import expand
from scoreregs.prior import ScorePrior
from scoreregs.trees import Condition, check_condition

__all__ = ["InvertedNoise"]


@named_calls
class InvertedNoise(Noiser):
    r"""DDIM inversion: x_t lies on the prior's own deterministic path from x.

    $$ x_{i+1} = \alpha_{i+1}\, \hat x(x_i, t_i) + \sigma_{i+1}\, \hat\epsilon(x_i, t_i),
       \qquad \epsilon = (x_t - \alpha x) / \sigma $$

    in equal steps of t. With the noise baseline what is subtracted is that noise (SDI) or the last
    step's prediction (ISM). The expected gradient changes: epsilon depends on x.

    Args:
        steps: prior evaluations on the way to t, at least 1.
        condition: what the prior is called with on the way, a batch of 1 or the objective's; by
            default what the objective is called with. SDI and ISM use the null condition.
        target: "noise" or "prediction".
        start: the time at which x is put, without noise: networks are not trained at 0.

    Raises:
        ArgumentError: for an argument outside its range.

    References:
        Lukoianov et al., Score Distillation via Reparametrized DDIM, NeurIPS 2024 (SDI); Liang et
        al., LucidDreamer, CVPR 2024 (interval score matching, ISM).

    Example:
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> x, t = torch.ones(1, 1), torch.tensor([[0.5]])  # the path through N(0, 1) is constant
        >>> noise = InvertedNoise(steps=400).sample(prior, x, None, t, None).noise
        >>> alpha, sigma = prior.schedule(t)
        >>> (alpha * x + sigma * noise).round(decimals=1)
        tensor([[[1.]]])
    """

    def __init__(
        self,
        steps: int = 10,
        condition: Condition = None,
        target: Literal["noise", "prediction"] = "noise",
        start: float = 1e-3,
    ) -> None:
        check_count("steps", steps)
        check_choice("target", target, ("noise", "prediction"))
        check_numbers(start=start)
        if not 0 <= start < 1:
            raise ArgumentError(f"got start={start!r}, expected a time in [0, 1), such as 1e-3")
        self.steps = steps
        check_condition(condition)
        self.condition = condition
        self.target = target
        self.start = start

    @override
    def sample(
        self,
        prior: ScorePrior,
        x: Tensor,
        condition: Condition,
        t: Tensor,
        generator: torch.Generator | None,
    ) -> Noised:
        draws, batch = t.shape
        chosen = condition if self.condition is None else self.condition
        chosen = fold(chosen, batch, draws)
        dtype = torch.promote_types(x.dtype, torch.float32)
        clean = repeat(x.to(dtype), "b ... -> (k b) ...", k=draws)
        level = prior.schedule.at(torch.full_like(t.flatten(), self.start))
        x_t, epsilon = expand(level.alpha, clean) * clean, clean
        for i in range(1, self.steps + 1):
            output = prior.checked_predict(x_t, level, chosen)
            sample = prior.prediction.sample(output, x_t, level, prior.schedule)
            epsilon = prior.prediction.epsilon(output, x_t, level, prior.schedule)
            level = prior.schedule.at(self.start + (t.flatten() - self.start) * (i / self.steps))
            x_t = expand(level.alpha, clean) * sample + expand(level.sigma, clean) * epsilon
        noise = (x_t - expand(level.alpha, clean) * clean) / expand(level.sigma, clean)
        target = epsilon if self.target == "prediction" else noise
        return Noised(*(rearrange(n, "(k b) ... -> k b ...", k=draws) for n in (noise, target)))
