"""What a stage's loss has to return; said in a line where it is a newcomer's first."""

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.data.transitions import Batch, Transitions
from scoreregs_offline_rl.randoms import seeded
from scoreregs_offline_rl.stages.stage import Metrics, Stage

__all__ = ["check_outcome", "try_forward"]


_ROWS = 4


def try_forward(stage: Stage[Any], data: Transitions) -> None:
    """Computes the loss of an untrained stage on a few rows, on the CPU, and checks it.

    Args:
        stage: of one member; used for nothing else.
        data: scaled.

    Raises:
        ArgumentError: see `check_outcome`.
    """
    rows = {f.name: getattr(data, f.name)[:_ROWS].cpu() for f in fields(Batch)}
    count, generator = len(rows["rewards"]), torch.Generator().manual_seed(0)
    # What takes no generator, as dropout.
    with seeded(0, stage.name):
        outcome = stage(Batch(**rows), stage.draw(count, generator))
    check_outcome(stage.name, outcome, torch.Size())


def check_outcome(stage: str, outcome: Any, shape: torch.Size) -> None:
    """Checks what `Stage.forward` returned.

    Args:
        stage: its name.
        outcome: as it was returned.
        shape: of the loss: () of one member, (members,) of stacked ones.

    Raises:
        ArgumentError: it is not the pair of a loss of that shape, with a gradient, and of tensors
            of that shape by name, one at least.
    """
    if not (isinstance(outcome, tuple) and len(outcome) == 2 and isinstance(outcome[1], dict)):
        raise ArgumentError(
            f"got {_described(outcome)} from the forward of {stage}, expected the loss and its "
            'metrics: return loss, {"loss": loss.detach()}'
        )
    loss, metrics = outcome
    _check_shape(stage, "loss", loss, shape)
    if not loss.requires_grad:
        raise ArgumentError(
            f"got a loss without a gradient from the forward of {stage}, expected one of its "
            "parameters: do not detach it, or compute it under no_grad"
        )
    if not metrics:
        raise ArgumentError(
            f"got no metrics from the forward of {stage}, expected one at least: "
            'return loss, {"loss": loss.detach()}'
        )
    _check_metrics(stage, metrics, shape)


def _check_metrics(stage: str, metrics: Metrics, shape: torch.Size) -> None:
    for name, metric in metrics.items():
        _check_shape(stage, f"metric {name!r}", metric, shape)


def _check_shape(stage: str, what: str, value: Any, shape: torch.Size) -> None:
    if not isinstance(value, Tensor):
        raise ArgumentError(
            f"got {_described(value)} as the {what} of {stage}, expected a tensor: keep it one, "
            "without item() or float(), which would wait for the device in each step"
        )
    if value.shape != shape:
        mend = (
            "its mean over the batch: .mean(-1)"
            if not shape
            else ("one for each stacked member: take means over the last axes alone, .mean(-1)")
        )
        raise ArgumentError(
            f"got the {what} of {stage} of shape {tuple(value.shape)}, expected {tuple(shape)}, "
            f"{mend}"
        )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"
