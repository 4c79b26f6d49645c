"""What a critic offers to the stages that build on it."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Value"]


class Value(ABC):
    """The worth of actions and states, abstract in `q` and `v`; called, it is `q`.

    Actions are in [-1, 1], observations scaled. What works on the last axes alone serves stacked
    members too, whose tensors have a leading axis.
    """

    @abstractmethod
    def q(self, action: Tensor, observation: Tensor) -> Tensor:
        """Returns Q(s, a), (batch,), differentiable in the actions (batch, a)."""

    @abstractmethod
    def v(self, observation: Tensor) -> Tensor:
        """Returns V(s), (batch,)."""

    @torch.no_grad()
    def advantage(self, action: Tensor, observation: Tensor) -> Tensor:
        """Returns Q(s, a) - V(s), (batch,), without gradient."""
        return self.q(action, observation) - self.v(observation)

    def __call__(self, action: Tensor, observation: Tensor) -> Tensor:
        """Returns Q(s, a), as an objective's value."""
        return self.q(action, observation)
