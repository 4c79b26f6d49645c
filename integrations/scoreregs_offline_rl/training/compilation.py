"""Compiled networks: what lies between two matrix products becomes one pass."""

import logging

import torch

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.stages.stage import Stage

__all__ = ["COMPILE_FROM", "compile_networks"]

logger = logging.getLogger(__name__)

COMPILE_FROM = 50_000
"""Steps of a stage from which on compiling it, a quarter of a minute, is worth it by itself."""


def compile_networks(
    stage: Stage, wanted: bool | None, steps: int, device: torch.device | str
) -> bool:
    """Has a stage's networks compiled when it takes its first step.

    Args:
        stage: the networks themselves, copies and saved weights are not affected.
        wanted: whether to; None: for many steps, where a compiler is there.
        steps: of the stage in all, so that a resumed stage does what it did before.
        device: where the stage is trained.

    Returns:
        Whether they will be.

    Raises:
        RunError: it is wanted, and PyTorch cannot compile here.
    """
    if not stage.compilable or wanted is False or (wanted is None and steps < COMPILE_FROM):
        return False
    if (reason := _obstacle(device)) is not None:
        if wanted:
            raise RunError(
                f"got --trainer.compile, and PyTorch cannot compile for {device} here ({reason}): "
                "install a C++ compiler, or leave the option out"
            )
        logger.info("%s: not compiled, PyTorch cannot here (%s)", stage.name, reason)
        return False
    stage.compile_networks()
    return True


def _obstacle(device: torch.device | str) -> str | None:
    """Returns why PyTorch cannot compile for a device; None if it can."""
    try:
        torch.compile(torch.neg)(torch.ones(2, device=device))
    except RuntimeError as error:
        return str(error).strip().splitlines()[0]
    return None
