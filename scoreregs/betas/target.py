"""A temperature that holds a budget."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.arguments import check_numbers, named_calls
from scoreregs.betas.base import Beta, as_members
from scoreregs.devices import follow
from scoreregs.errors import ArgumentError

__all__ = ["TargetBeta"]

# How far beta goes from where it started, as a factor: beyond that one force is gone anyway.
_FURTHEST = 1e4


@named_calls
class TargetBeta(Beta):
    r"""The temperature at which the prior's error at x is a given multiple of that at the data.

    With e the squared denoising error of Eq. 13, a budget in place of a temperature:

    $$ \max_x\; \mathrm{value}(x) \quad \text{where} \quad
       \mathbb E\, e(x) \le \mathrm{ratio} \cdot \mathbb E\, e(x_{\mathrm{data}}) $$

    1 / beta is its multiplier, found by dual ascent on its logarithm with running means of both
    errors, a step a call:

    $$ \ln \beta \leftarrow \ln \beta - \mathrm{rate} \cdot \mathrm{clip}\big( \ln \bar e(x)
       - \ln (\mathrm{ratio} \cdot \bar e(x_{\mathrm{data}})),\, -1,\, 1 \big) $$

    The objective is called with `data=`, at the first call at least: the mean of what it has seen
    counts at calls without. Everything is computed and kept on x's device, in buffers that the
    objective's `state_dict` saves, and stands still in eval mode. Where the value never leaves the
    budget beta grows, and where no temperature keeps it beta falls: at most by a factor of 10,000
    from its start. `measured_ratio` tells.

    Args:
        ratio: the multiple, > 0, or one for each member of a stacked batch, whose errors are then
            their own: 1 stays as plausible as data, less is nearer to a mode.
        start: the first call's temperature, > 0, or one for each member.
        rate: of the ascent, in (0, 1): beta moves at most by this share a call.
        decay: what a running mean keeps of its past at a call, in [0, 1).

    Raises:
        ArgumentError: for an argument outside its range, and at a first call without data.

    References:
        Fang et al., Diffusion Actor-Critic, ICLR 2025, for dual ascent on the denoising loss.

    Example:
        >>> from scoreregs import GaussianMixturePrior, ScoreRegularizedObjective, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> objective = ScoreRegularizedObjective.from_value(
        ...     lambda x, condition: x.sum(-1), prior, beta=TargetBeta(1.5)
        ... )
        >>> data = torch.randn(8, 1, generator=torch.Generator().manual_seed(0))
        >>> result = objective(torch.zeros(8, 1), data=data)
        >>> sorted(objective.state_dict())
        ['beta.data_error', 'beta.data_weight', 'beta.error', 'beta.error_weight', 'beta.log_beta']
    """

    needs_error = True
    log_beta: Tensor
    error: Tensor
    data_error: Tensor
    error_weight: Tensor
    data_weight: Tensor

    def __init__(
        self,
        ratio: float | Sequence[float],
        start: float | Sequence[float] = 1.0,
        *,
        rate: float = 1e-3,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        ratios, starts = torch.broadcast_tensors(
            as_members("ratio", ratio), as_members("start", start)
        )
        check_numbers(rate=rate, decay=decay)
        if not 0 < rate < 1:
            raise ArgumentError(f"got rate={rate!r}, expected a number in (0, 1), such as 1e-3")
        if not 0 <= decay < 1:
            raise ArgumentError(f"got decay={decay!r}, expected a number in [0, 1), such as 0.99")
        self.ratio, self.start, self.rate, self.decay = ratio, start, rate, decay
        self.register_buffer("_log_ratio", ratios.log().float(), persistent=False)
        self.register_buffer("_log_start", starts.log().float(), persistent=False)
        self.register_buffer("log_beta", starts.log().float())
        # Sums that the decay shortens, and the sums of ones beside them.
        for name in ("error", "data_error", "error_weight", "data_weight"):
            self.register_buffer(name, torch.zeros(len(ratios)))
        # On the host, so that no call asks the device.
        self._has_data = False
        self.register_load_state_dict_post_hook(_note_data)

    @property
    def measured_ratio(self) -> Tensor:
        """The error at x over that at the data, of late, (members,); NaN before the first call."""
        return (self.error / self.error_weight) / (self.data_error / self.data_weight)

    @override
    def forward(self, device: torch.device) -> Tensor:
        follow(self, device)
        # A copy: what is used in this call shall not change in it.
        return torch.exp(self.log_beta)

    @override
    @torch.no_grad()
    def observe(self, error: Tensor, data_error: Tensor | None) -> None:
        self._has_data = self._has_data or data_error is not None
        if not self._has_data:
            raise ArgumentError(
                "got a call without data for TargetBeta, expected some at the first call: "
                "objective(x, condition, data=samples of the data under the same condition)"
            )
        self._take_in(self.error, self.error_weight, error)
        if data_error is not None:
            self._take_in(self.data_error, self.data_weight, data_error)
        excess = torch.log(self.measured_ratio) - self.get_buffer("_log_ratio")
        # Where nothing finite was seen beta stays.
        excess = torch.where(excess.isnan(), 0.0, excess)
        start, furthest = self.get_buffer("_log_start"), math.log(_FURTHEST)
        self.log_beta.sub_(self.rate * excess.clamp(-1, 1))
        self.log_beta.copy_(self.log_beta.clamp(start - furthest, start + furthest))

    def _take_in(self, total: Tensor, weight: Tensor, errors: Tensor) -> None:
        errors = errors.reshape(len(total), -1)
        # A sample without a finite error tells nothing, and must not stay in the mean for good.
        finite = errors < math.inf
        total.mul_(self.decay).add_(torch.where(finite, errors, 0.0).mean(1))
        weight.mul_(self.decay).add_(finite.to(weight.dtype).mean(1))


def _note_data(beta: nn.Module, incompatible_keys: object) -> None:
    """Whether what was loaded has seen data; loading may wait for the device."""
    if isinstance(beta, TargetBeta):
        beta._has_data = bool((beta.data_weight > 0).all())
