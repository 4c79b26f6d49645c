"""Rows and steps that did not move, as a gradient was not finite: they are counted and told.

On a device, and in a compiled or captured step, nobody looks at numbers: the share of such rows is
one of the step's metrics (`scoreregs_offline_rl.stages.stage.UNMOVED`), read with the others. So is
whether a step was skipped whose scaled gradient overflowed float16.
"""

import logging
from collections.abc import Collection, Mapping

from scoreregs_offline_rl.stages.stage import UNMOVED

__all__ = ["SKIPPED", "skipped_steps", "tell_skipped", "tell_unmoved", "unmoved_rows"]

logger = logging.getLogger(__name__)

SKIPPED = "skipped"
"""The metric of a training with scaled gradients: the share of steps that moved nothing."""


def unmoved_rows(metrics: Mapping[str, float], rows: int, lost: Collection[str]) -> dict[str, int]:
    """Returns how many rows did not move, by the label of their member where there are any.

    Args:
        metrics: of a line; those of a member end in a slash and its label.
        rows: of each member that the line is about.
        lost: labels of members of which nothing moves any more, and that was told.

    Example:
        >>> unmoved_rows({"q": 0.5, "unmoved": 0.01}, 2000, ())
        {'': 20}
        >>> unmoved_rows({"unmoved/seed-0": 0.0, "unmoved/seed-1": 0.001}, 2000, ())
        {'seed-1': 2}
    """
    found: dict[str, int] = {}
    for metric, share in metrics.items():
        name, _, label = metric.partition("/")
        if name == UNMOVED and share > 0 and label not in lost:
            found[label] = max(1, round(share * rows))
    return found


def tell_unmoved(stage: str, steps: tuple[int, int], found: Mapping[str, int], rows: int) -> None:
    """Warns of rows that did not move, in one line.

    Args:
        stage: its name.
        steps: the first and the last of those that they are from.
        found: how many, by the label of their member.
        rows: of each member in these steps.
    """
    told = ", ".join(f"{n} of {rows} rows{label and ' of '}{label}" for label, n in found.items())
    logger.warning(
        "%s stage, steps %d to %d: got NaN or infinity in the gradient of %s, which did not move, "
        "expected finite ones: see that the stages before it passed their checks, train in float32 "
        "(--trainer.mixed-precision no), or give --trainer.cpu --trainer.compile False to be told "
        "in each step which of them it is",
        stage,
        *steps,
        told,
    )


def skipped_steps(metrics: Mapping[str, float], steps: int) -> int:
    """Returns how many steps moved nothing, which all members of a stacked stage share.

    Args:
        metrics: of a line, of scaled gradients.
        steps: that it is about.

    Example:
        >>> skipped_steps({"q/seed-0": 0.5, "skipped/seed-0": 0.02, "skipped/seed-1": 0.02}, 100)
        2
    """
    shares = (share for name, share in metrics.items() if name.partition("/")[0] == SKIPPED)
    return round(steps * max(shares))


def tell_skipped(stage: str, steps: tuple[int, int], skipped: int) -> None:
    """Warns of steps that moved nothing, in one line.

    Args:
        stage: its name.
        steps: the first and the last of those that they are from.
        skipped: how many.
    """
    logger.warning(
        "%s stage, steps %d to %d: got a gradient that overflows float16 in %d steps, which moved "
        "nothing, expected few, at the start most of all, where the loss finds its scale: if there "
        "are many train in bfloat16 or float32 (--trainer.mixed-precision bf16, or no)",
        stage,
        *steps,
        skipped,
    )
