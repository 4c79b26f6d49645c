"""State that follows what it meets to its device."""

import torch
from torch import nn

__all__ = ["follow"]


def follow(module: nn.Module, device: torch.device) -> None:
    """Moves the buffers of a module to a device, where they are not there already.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> follow(norm, torch.device("meta"))
        >>> norm.running_mean.device
        device(type='meta')
    """
    # `Module.to` is not called in vain: `torch.compile` of PyTorch 2.6 cannot trace it.
    if any(buffer.device != device for buffer in module.buffers()):
        module.to(device)
