"""Several policies that act by their mean."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs_offline_rl.stages.actor import ActorStage
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.stacking import stack
from scoreregs_offline_rl.stages.stage import Stage

__all__ = ["MeanPolicy", "mean_policy"]


@final
class MeanPolicy(nn.Module):
    r"""The mean $\frac1K \sum_k \pi_k(s)$ of deterministic policies, as one network.

    A policy of Eq. 15 settles in one of several modes by its initial weights; the mean of a handful
    is never far from the better ones.

    Args:
        policies: of equal sizes, at least one; copied.

    Example:
        >>> policies = [DiracPolicy(17, 6) for _ in range(4)]
        >>> MeanPolicy(policies)(torch.zeros(5, 17)).shape
        torch.Size([5, 6])
    """

    def __init__(self, policies: Sequence[DiracPolicy]) -> None:
        super().__init__()
        self.policies, self.action_size = len(policies), policies[0].action_size
        self.net = stack(policies).net

    @override
    def forward(self, observation: Tensor) -> Tensor:
        """Returns the mean action, (batch, a) or (a,), within (-1, 1)."""
        rows = observation if observation.ndim > 1 else observation[None]
        actions = torch.tanh(self.net(rows.expand(self.policies, *rows.shape))).mean(0)
        return actions if observation.ndim > 1 else actions[0]


def mean_policy(members: Sequence[Stage[Any]]) -> DiracPolicy | MeanPolicy:
    """Returns the policy of one stage, or the mean of those of several."""
    policies = [member.policy for member in members if isinstance(member, ActorStage)]
    return policies[0] if len(policies) == 1 else MeanPolicy(policies)
