"""A small network for the behavior model, for minutes on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

__all__ = ["SmallBehaviorNetwork"]


class _ResidualBlock(nn.Module):
    """x + second(silu(first(norm(mask * x)))), without expansion."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    @override
    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        hidden = x if mask is None else x * mask
        return x + self.second(F.silu(self.first(self.norm(hidden))))


class SmallBehaviorNetwork(nn.Module):
    r"""Residual blocks without expansion, told the noise level by its log-SNR.

    The time enters as $c = \ln(\sigma / \alpha) / 4$, the noise variable of EDM, and the sines and
    cosines of it at a few octaves, so that one network serves under any schedule. At equal width it
    has a quarter of the products of `BehaviorNetwork`, and SiLU is far cheaper than Mish on a CPU.

    Args:
        observation_size: number of observation dimensions o.
        action_size: number of action dimensions a.
        blocks: residual blocks.
        width: units of a block.

    Example:
        >>> network = SmallBehaviorNetwork(17, 6)
        >>> network(torch.zeros(4, 6), torch.rand(4), torch.zeros(4, 17)).shape
        torch.Size([4, 6])
    """

    frequencies: Tensor

    def __init__(
        self, observation_size: int, action_size: int, *, blocks: int = 3, width: int = 256
    ) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(4))
        features = 1 + 2 * len(self.frequencies)
        self.input = nn.Linear(action_size + observation_size + features, width)
        self.blocks = nn.ModuleList(_ResidualBlock(width) for _ in range(blocks))
        self.output = nn.Linear(width, action_size)

    @override
    def forward(
        self, x_t: Tensor, c: Tensor, condition: Tensor, dropout_masks: Tensor | None = None
    ) -> Tensor:
        """Returns the prediction, (batch, a).

        Args:
            x_t: noisy actions (batch, a).
            c: noise levels ln(sigma / alpha) / 4, shape (batch,).
            condition: observations (batch, o).
            dropout_masks: as for `BehaviorNetwork`.
        """
        level = c.to(self.frequencies.dtype)[..., None]
        phase = level * self.frequencies.unsqueeze(-2)
        hidden = self.input(torch.cat([x_t, condition, level, phase.sin(), phase.cos()], dim=-1))
        for index, block in enumerate(self.blocks):
            hidden = block(hidden, None if dropout_masks is None else dropout_masks[..., index, :])
        return self.output(F.silu(hidden))
