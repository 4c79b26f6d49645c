"""Devices that there are, and state that follows what it meets to its device."""

import torch
from torch import nn

from scoreregs.errors import ArgumentError

__all__ = ["as_device", "follow", "present_device"]


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


def as_device(device: torch.device | str | int) -> torch.device:
    """Returns a device.

    Raises:
        ArgumentError: for what is none.
    """
    try:
        return torch.device(device)
    except (TypeError, RuntimeError) as error:
        raise ArgumentError(
            f"got device={device!r}, expected one such as 'cpu' or 'cuda:0'"
        ) from error


def present_device(device: torch.device | str | int) -> torch.device:
    """Returns a device that there is.

    Raises:
        ArgumentError: for what is none, and for one that PyTorch does not reach here.
    """
    found = as_device(device)
    if found.type not in ("cpu", "meta"):
        try:
            torch.empty(0, device=found)
        except (AssertionError, RuntimeError, ImportError) as error:
            reason = str(error).strip().split("\n")[0].split(". ")[0]
            raise ArgumentError(
                f"got device={str(device)!r}, which PyTorch does not reach here ({reason}), "
                "expected one that it does, such as 'cpu': see torch.cuda.is_available()"
            ) from error
    return found
