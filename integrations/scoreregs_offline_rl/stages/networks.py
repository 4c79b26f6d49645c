"""The networks of the three stages (Appendix C of the paper).

No network holds a random number generator: `BehaviorNetwork` is handed its dropout masks, so that a
training step is a function of its inputs alone. All of them work on the last axes, so that `stack`
makes one network of several.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from scoreregs_offline_rl.stages.mish import Mish, mish

__all__ = ["BehaviorNetwork", "DiracPolicy", "TwinQ", "ValueNetwork", "mlp"]


def mlp(sizes: list[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given sizes with an activation between any two of them.

    Example:
        >>> [type(layer).__name__ for layer in mlp([3, 256, 1])]
        ['Linear', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        if index > 0:
            layers.append(activation())
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


class TwinQ(nn.Module):
    """Two independent action values, Q_1(s, a) and Q_2(s, a).

    Args:
        observation_size: Number of observation dimensions o.
        action_size: Number of action dimensions a.
        layers: Hidden layers.
        width: Units of a hidden layer.
    """

    def __init__(
        self, observation_size: int, action_size: int, *, layers: int = 2, width: int = 256
    ) -> None:
        super().__init__()
        sizes = [action_size + observation_size, *[width] * layers, 1]
        self.q1 = mlp(sizes)
        self.q2 = mlp(sizes)

    def forward(self, action: Tensor, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Both values (batch,) of actions (batch, a) at observations (batch, o)."""
        inputs = torch.cat([action, observation], dim=-1)
        return self.q1(inputs).squeeze(-1), self.q2(inputs).squeeze(-1)

    def mean(self, action: Tensor, observation: Tensor) -> Tensor:
        """The mean of the two values (batch,), which the policy climbs."""
        q1, q2 = self(action, observation)
        return (q1 + q2) / 2

    def minimum(self, action: Tensor, observation: Tensor) -> Tensor:
        """The smaller of the two values (batch,), which the critic learns from."""
        return torch.minimum(*self(action, observation))


class ValueNetwork(nn.Module):
    """The state value V(s) (batch,) of observations (batch, o)."""

    def __init__(self, observation_size: int, *, layers: int = 2, width: int = 256) -> None:
        super().__init__()
        self.net = mlp([observation_size, *[width] * layers, 1])

    def forward(self, observation: Tensor) -> Tensor:
        """V(s), shape (batch,)."""
        return self.net(observation).squeeze(-1)


class DiracPolicy(nn.Module):
    """The deterministic policy pi(s), actions (batch, a) within (-1, 1) by a final tanh.

    Args:
        observation_size: Number of observation dimensions.
        action_size: Number of action dimensions.
        layers: Hidden layers; the paper takes 2, and 4 for AntMaze.
        width: Units of a hidden layer.

    Example:
        >>> DiracPolicy(17, 6)(torch.zeros(4, 17)).shape
        torch.Size([4, 6])
    """

    def __init__(
        self, observation_size: int, action_size: int, *, layers: int = 2, width: int = 256
    ) -> None:
        super().__init__()
        self.action_size = action_size
        self.net = mlp([observation_size, *[width] * layers, action_size])

    def forward(self, observation: Tensor) -> Tensor:
        """pi(s), shape (batch, a)."""
        return torch.tanh(self.net(observation))


class _ResidualBlock(nn.Module):
    """x + contract(mish(expand(norm(mask * x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        hidden = x if mask is None else x * mask
        return x + self.contract(mish(self.expand(self.norm(hidden))))


class BehaviorNetwork(nn.Module):
    """The noise prediction eps_hat(x_t | s, t) of the behavior policy's diffusion.

    The time passes through fixed Gaussian Fourier features sin, cos(2 pi W t), W ~ N(0, 30^2), and
    a small network, and is joined to the noisy action and the observation in front of residual
    blocks with layer normalisation.

    Args:
        observation_size: Number of observation dimensions o.
        action_size: Number of action dimensions a.
        blocks: Residual blocks.
        width: Units of a block.
        features: Fourier features, an even number.
        embedding: Units of the time's embedding.

    Example:
        >>> network = BehaviorNetwork(17, 6)
        >>> network(torch.zeros(4, 6), torch.rand(4), torch.zeros(4, 17)).shape
        torch.Size([4, 6])
    """

    frequencies: Tensor

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        blocks: int = 3,
        width: int = 256,
        features: int = 64,
        embedding: int = 128,
    ) -> None:
        super().__init__()
        self.register_buffer("frequencies", 30 * torch.randn(features // 2))
        self.embedding = mlp([features, embedding, embedding], activation=Mish)
        self.input = nn.Linear(action_size + observation_size + embedding, width)
        self.blocks = nn.ModuleList(_ResidualBlock(width) for _ in range(blocks))
        self.output = nn.Linear(width, action_size)

    def forward(
        self, x_t: Tensor, t: Tensor, condition: Tensor, dropout_masks: Tensor | None = None
    ) -> Tensor:
        """The noise prediction, shape (batch, a).

        Args:
            x_t: Noisy actions (batch, a).
            t: Times in [0, 1], shape (batch,).
            condition: Observations (batch, o).
            dropout_masks: Factors of each block's input, (batch, blocks, width): 0 where a unit is
                dropped and 1/keep where it is kept. None drops nothing.
        """
        phase = (
            t.to(self.frequencies.dtype)[..., None] * self.frequencies.unsqueeze(-2) * 2 * math.pi
        )
        time = self.embedding(torch.cat([phase.sin(), phase.cos()], dim=-1))
        hidden = self.input(torch.cat([x_t, condition, time], dim=-1))
        for index, block in enumerate(self.blocks):
            hidden = block(hidden, None if dropout_masks is None else dropout_masks[..., index, :])
        return self.output(mish(hidden))
