"""What temperatures share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs.errors import ArgumentError
from scoreregs.reprs import Constructed

__all__ = ["Beta", "as_members"]


class Beta(Constructed, nn.Module, ABC):
    """A temperature that changes from call to call, abstract in `forward`.

    Its state is on x's device, where nothing waits for it, and in the objective's `state_dict`.

    Attributes:
        needs_error: whether `observe` is called, for which the prior's error is computed.
    """

    _tells_defaults = False
    needs_error: ClassVar[bool] = False

    @abstractmethod
    @override
    def forward(self, device: torch.device) -> Tensor:
        """Returns the temperatures of this call, all > 0: one, (1,), or one a member, (members,).

        Called once a call of the objective; in eval mode it changes nothing.
        """

    def observe(self, error: Tensor, data_error: Tensor | None) -> None:
        """Learns from a finished call of training; one without a state does nothing.

        Args:
            error: the prior's squared denoising error at x, (batch,).
            data_error: that at the data, (batch,), where the objective was given some.
        """


def as_members(name: str, numbers: float | Sequence[float]) -> Tensor:
    """Returns a number, or one for each member, as a tensor (members,), float64.

    Raises:
        ArgumentError: unless all are finite and > 0.

    Example:
        >>> as_members("start", 0.5), as_members("start", [0.1, 0.2])
        (tensor([0.5000], dtype=torch.float64), tensor([0.1000, 0.2000], dtype=torch.float64))
    """
    listed = list(numbers) if isinstance(numbers, Sequence) else [numbers]
    valid = all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and 0 < number < torch.inf
        for number in listed
    )
    if not listed or not valid or isinstance(numbers, str):
        raise ArgumentError(
            f"got {name}={numbers!r}, expected a finite number > 0, or a list of one for each "
            "member of a stacked batch"
        )
    return torch.tensor(listed, dtype=torch.float64)
