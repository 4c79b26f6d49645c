"""A count of calls, for whatever changes with them."""

import torch
from torch import Tensor, nn

from scoreregs.arguments import check_count
from scoreregs.devices import follow
from scoreregs.schedules import as_time

__all__ = ["Clock"]


class Clock(nn.Module):
    """Counts calls up to a number of them; in eval mode it stands still.

    Args:
        steps: how many calls lead from the first share, 0, to the last, 1.

    Raises:
        ArgumentError: for less than one step.

    Example:
        >>> clock = Clock(3)
        >>> [clock.tick(torch.device("cpu")).item() for _ in range(4)]
        [0.0, 0.5, 1.0, 1.0]
    """

    step: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        check_count("steps", steps)
        self._last = max(steps - 1, 1)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def tick(self, device: torch.device) -> Tensor:
        """Returns the share of the calls that are over, from 0 at the first to 1 at the last."""
        follow(self, device)
        share = as_time(self.step, device) / self._last
        if self.training:
            self.step += 1
        return share.clamp(max=1)
