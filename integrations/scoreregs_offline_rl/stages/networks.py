"""The networks of the stages (Appendix C of the paper).

No network holds a random number generator: `BehaviorNetwork` is handed its dropout masks, so that a
training step is a function of its inputs alone. All of them work on the last axes, so that `stack`
makes one network of several.
"""

import functools
import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs_offline_rl.stages.mish import Mish, mish

__all__ = ["BehaviorNetwork", "DiracPolicy", "EnsembleQ", "ValueNetwork", "mlp"]


def mlp(
    sizes: list[int], activation: Callable[[], nn.Module] = nn.ReLU, *, layer_norm: bool = False
) -> nn.Sequential:
    """Returns linear layers of the given sizes with an activation between any two of them.

    Args:
        sizes: of inputs, hidden layers and outputs.
        activation: makes one.
        layer_norm: whether what enters an activation is normalised, without scale and shift.

    Example:
        >>> [type(layer).__name__ for layer in mlp([3, 256, 1])]
        ['Linear', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        if index > 0:
            if layer_norm:
                layers.append(nn.LayerNorm(inputs, elementwise_affine=False))
            layers.append(activation())
        layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


class EnsembleQ(nn.Module):
    """Independent action values Q_i(s, a), two of them in the paper.

    Args:
        observation_size: number of observation dimensions o.
        action_size: number of action dimensions a.
        layers: hidden layers.
        width: units of a hidden layer.
        members: how many values.
        layer_norm: whether hidden layers are normalised.

    Example:
        >>> q = EnsembleQ(17, 6, members=5)
        >>> [value.shape for value in q(torch.zeros(4, 6), torch.zeros(4, 17))] == [(4,)] * 5
        True
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        layers: int = 2,
        width: int = 256,
        members: int = 2,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        sizes = [action_size + observation_size, *[width] * layers, 1]
        self.members = members
        for index in range(members):
            self.add_module(f"q{index + 1}", mlp(sizes, layer_norm=layer_norm))

    @override
    def forward(self, action: Tensor, observation: Tensor) -> tuple[Tensor, ...]:
        """Returns the values, (batch,) each, of actions (batch, a) at observations (batch, o)."""
        inputs = torch.cat([action, observation], dim=-1)
        return tuple(member(inputs).squeeze(-1) for member in self.children())

    def mean(self, action: Tensor, observation: Tensor) -> Tensor:
        """Returns the mean of the values (batch,), which the policy climbs."""
        values = self(action, observation)
        return functools.reduce(torch.add, values) / self.members

    def minimum(self, action: Tensor, observation: Tensor) -> Tensor:
        """Returns the smallest of the values (batch,), which the critic learns from."""
        return functools.reduce(torch.minimum, self(action, observation))

    def pessimistic(self, action: Tensor, observation: Tensor, rho: float) -> Tensor:
        """Returns the mean less rho standard deviations of the values, (batch,)."""
        values = torch.stack(self(action, observation))
        return values.mean(0) - rho * values.std(0, correction=0)


class ValueNetwork(nn.Module):
    """The state value V(s) (batch,) of observations (batch, o)."""

    def __init__(
        self,
        observation_size: int,
        *,
        layers: int = 2,
        width: int = 256,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.net = mlp([observation_size, *[width] * layers, 1], layer_norm=layer_norm)

    @override
    def forward(self, observation: Tensor) -> Tensor:
        """Returns V(s), (batch,)."""
        return self.net(observation).squeeze(-1)


class DiracPolicy(nn.Module):
    """The deterministic policy pi(s), actions (batch, a) within (-1, 1) by a final tanh.

    Args:
        observation_size: number of observation dimensions.
        action_size: number of action dimensions.
        layers: hidden layers; the paper takes 2, and 4 for AntMaze.
        width: units of a hidden layer.

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

    @override
    def forward(self, observation: Tensor) -> Tensor:
        """Returns pi(s), (batch, a)."""
        return torch.tanh(self.net(observation))


class _ResidualBlock(nn.Module):
    """x + contract(mish(expand(norm(mask * x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    @override
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        hidden = x if mask is None else x * mask
        return x + self.contract(mish(self.expand(self.norm(hidden))))


class BehaviorNetwork(nn.Module):
    """The network of the behavior model: of a noisy action, its time and an observation.

    What it predicts is the stage's to say, the noise in the paper.

    The time passes through fixed Gaussian Fourier features sin, cos(2 pi W t), W ~ N(0, 30^2), and
    a small network, and is joined to the noisy action and the observation in front of residual
    blocks with layer normalisation.

    Args:
        observation_size: number of observation dimensions o.
        action_size: number of action dimensions a.
        blocks: residual blocks.
        width: units of a block.
        features: Fourier features, an even number.
        embedding: units of the time's embedding.

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

    @override
    def forward(
        self, x_t: Tensor, t: Tensor, condition: Tensor, dropout_masks: Tensor | None = None
    ) -> Tensor:
        """Returns the prediction, (batch, a).

        Args:
            x_t: noisy actions (batch, a).
            t: times in [0, 1], shape (batch,).
            condition: observations (batch, o).
            dropout_masks: factors of each block's input, (batch, blocks, width): 0 where a unit is
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
