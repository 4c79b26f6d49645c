"""The stages' optimisers: Adam, each step one pass over parameters, gradients and moments."""

from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

__all__ = ["adam", "adam_with_cosine", "adamw"]


def adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> Optimizer:
    """Adam at a constant learning rate."""
    return Adam(parameters, lr=learning_rate, fused=True)


def adamw(
    parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
) -> Optimizer:
    """AdamW at a constant learning rate."""
    return AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def adam_with_cosine(
    module: nn.Module, learning_rate: float, steps: int
) -> tuple[Optimizer, LRScheduler]:
    """Adam with a cosine decay of its learning rate to zero over `steps` (the paper's code)."""
    optimizer = adam(module.parameters(), learning_rate)
    return optimizer, CosineAnnealingLR(optimizer, T_max=steps)
