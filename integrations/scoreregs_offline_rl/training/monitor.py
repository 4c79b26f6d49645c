"""The checks of the stages while they train."""

import logging
from collections.abc import Callable

from scoreregs_offline_rl.stages.finding import Finding

__all__ = ["Monitor"]

logger = logging.getLogger(__name__)


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
