"""Members of a sweep whose numbers stop being finite: they are named, and the others go on.

Members share no parameters, so what one becomes is of no consequence to the others.
"""

import logging
import math
from collections.abc import Collection, Sequence

import torch
from torch import nn

from scoreregs_offline_rl.errors import RunError

__all__ = ["DivergedError", "clear_lost", "finite_metrics", "places_of"]

logger = logging.getLogger(__name__)


class DivergedError(RunError):
    """The numbers of a training stop being finite."""


def finite_metrics(
    stage: str, step: int, metrics: dict[str, float], labels: Sequence[str], known: set[str]
) -> dict[str, float]:
    """Returns the metrics that are finite.

    Args:
        stage: its name.
        step: steps done.
        metrics: of a line; those of a member end in a slash and its label.
        labels: of the members of a sweep; none for a run.
        known: members that were told to be lost; what is told now is added.

    Raises:
        DivergedError: one is not finite that is a run's, or all members are lost.
    """
    wrong = {name: value for name, value in metrics.items() if not math.isfinite(value)}
    lost = {label for label in labels if any(name.endswith(f"/{label}") for name in wrong)}
    if wrong and (not labels or len(lost | known) == len(labels)):
        name, value = next(iter(wrong.items()))
        raise DivergedError(
            f"got {name} = {value} in the {stage} stage up to step {step}, expected finite "
            f"numbers: lower the learning rate or look at the scale of the rewards"
        )
    for label in sorted(lost - known):
        logger.warning(
            "%s stage, step %d: the numbers of %s are no longer finite; it is lost, the others "
            "go on",
            stage,
            step,
            label,
        )
    known |= lost
    return {name: value for name, value in metrics.items() if name not in wrong}


def places_of(lost: Collection[str], labels: Sequence[str]) -> list[int]:
    """Returns the places of those that are lost among the labels of all members."""
    return [place for place, label in enumerate(labels) if label in lost]


@torch.no_grad()
def clear_lost(stage: nn.Module, labels: Sequence[str], lost: Collection[str]) -> list[int]:
    """Sets weights to 0 in members that are lost or have some that are not finite.

    Args:
        stage: stacked, members first.
        labels: of the members.
        lost: of those whose numbers stopped being finite, whatever their weights.

    Returns:
        Their places among the labels.

    Raises:
        DivergedError: that are all of them.
    """
    state = {k: v for k, v in stage.state_dict().items() if v.is_floating_point()}
    whole = torch.tensor([label not in lost for label in labels])
    for values in state.values():
        whole &= values.isfinite().flatten(1).all(1).cpu()
    if not whole.any():
        raise DivergedError(
            "got weights that are not finite in every member, expected finite ones: lower the "
            "learning rate or look at the scale of the rewards"
        )
    places: list[int] = (~whole).nonzero().flatten().tolist()
    for values in state.values() if places else ():
        values[places] = 0.0
    return places
