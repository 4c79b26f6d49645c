"""The checks of the stages while they train."""

import logging
from collections.abc import Callable

from scoreregs_offline_rl.stages.finding import Finding

__all__ = ["Monitor", "is_due"]

logger = logging.getLogger(__name__)

# A check of so many rows may follow after this many times as many rows of training: a twentieth.
_SELDOM = 20


def is_due(step: int, steps: int, log_every: int, batch_size: int, checked_rows: int) -> bool:
    """Returns whether a stage is checked at a line of metrics; checks cost a twentieth at most.

    It follows from the settings and the step alone: a run that was resumed is checked at the same
    steps as one that never stopped.

    Args:
        step: steps done, of a line.
        steps: of the stage; the last one is always checked.
        log_every: steps between lines.
        batch_size: rows of a step.
        checked_rows: of a check.

    Example:
        >>> [step for step in range(10, 101, 10) if is_due(step, 100, 10, 256, 512)]
        [40, 80, 100]
        >>> is_due(1000, 5000, 1000, 256, 8192)
        True
    """
    gap = max(1, _SELDOM * checked_rows // batch_size)
    return step == steps or step // gap > (step - log_every) // gap


class Monitor:
    """A check that a stage passes while it trains; the first failure is logged in one line.

    Args:
        check: the check; None where there is none.
        first_step: steps after which a failure means something.
        label: of a member of several that are trained at once.
    """

    def __init__(
        self, check: Callable[[], Finding | None], *, first_step: int = 0, label: str = ""
    ) -> None:
        self._check = check
        self._label = label
        self._first_step = first_step
        self._told = False

    def __call__(self, step: int) -> dict[str, float]:
        """Returns the check's numbers, as metrics."""
        finding = self._check()
        if finding is None:
            return {}
        if not finding.ok and step >= self._first_step and not self._told:
            of_member = self._label and f" of {self._label}"
            logger.warning(
                "%s stage%s, step %d: %s", finding.check, of_member, step, finding.message
            )
            self._told = True
        suffix = self._label and f"/{self._label}"
        numbers = {"health_measured": finding.measured, "health_limit": finding.limit}
        numbers |= finding.numbers
        return {name + suffix: number for name, number in numbers.items()}
