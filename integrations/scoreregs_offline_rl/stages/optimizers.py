"""The stages' optimisers: Adam, each step one pass over parameters, gradients and moments."""

from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

__all__ = ["adam", "adamw", "cosine_decay"]


def adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> Optimizer:
    """Returns Adam at a constant learning rate."""
    return Adam(parameters, lr=learning_rate, fused=True)


def adamw(
    parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> Optimizer:
    """Returns AdamW at a constant learning rate."""
    return AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def cosine_decay(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Returns a cosine decay of the learning rate to zero over `steps`."""
    return CosineAnnealingLR(optimizer, T_max=steps)
