"""A temperature that goes from one number to another."""

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs.betas.base import Beta, as_members
from scoreregs.clock import Clock
from scoreregs.devices import follow

__all__ = ["AnnealedBeta"]


@named_calls
class AnnealedBeta(Beta):
    r"""A temperature that goes geometrically from one number to another, and stays there.

    $$ \beta_i = \beta_0^{1 - p}\, \beta_1^p, \qquad p = \min(\tfrac{i}{\mathrm{steps} - 1}, 1) $$

    The step is a buffer that the objective's `state_dict` saves, and stands still in eval mode.

    Args:
        start: the first call's temperature, > 0, or one for each member of a stacked batch.
        end: that of call number `steps` and every later one, likewise.
        steps: how many calls lead from start to end.

    Raises:
        ArgumentError: for a temperature that is not finite and > 0, or less than one step.

    Example:
        >>> beta = AnnealedBeta(1.0, [0.01, 0.0001], steps=3)
        >>> [beta(torch.device("cpu")) for _ in range(3)][1]
        tensor([0.1000, 0.0100], dtype=torch.float64)
    """

    def __init__(
        self, start: float | Sequence[float], end: float | Sequence[float], steps: int
    ) -> None:
        super().__init__()
        ends = torch.broadcast_tensors(as_members("start", start), as_members("end", end))
        self.clock = Clock(steps)
        self.start, self.end, self.steps = start, end, steps
        for name, bound in zip(("start", "end"), ends, strict=True):
            self.register_buffer(f"_log_{name}", bound.log(), persistent=False)

    @override
    def forward(self, device: torch.device) -> Tensor:
        share = self.clock.tick(device)
        follow(self, device)
        start, end = self.get_buffer("_log_start"), self.get_buffer("_log_end")
        return torch.exp(torch.lerp(start, end, share))
