"""What a check of a stage finds, without a simulator."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from scoreregs.arguments import named_calls

__all__ = ["Finding"]


@named_calls
@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: name of the stage that was checked.
        measured: the number that the check is about.
        limit: what it should not exceed.
        message: one line with both; where the limit is exceeded it names the remedy.
        numbers: what else was measured, by name, for the metrics.
    """

    check: str
    measured: float
    limit: float
    message: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        check: str,
        measured: float,
        limit: float,
        numbers: str,
        remedy: str,
        **more: float,
    ) -> "Finding":
        """Returns a finding whose message has the remedy only where it is wanted."""
        found = cls(check, measured, limit, numbers, more)
        return found if found.ok else replace(found, message=numbers + remedy)

    def with_unmoved(self, rows: int) -> "Finding":
        """Returns the finding, or one that is not ok where rows did not move in training.

        Args:
            rows: how many, over all steps.
        """
        if not rows:
            return self
        message = (
            f"the gradient was not finite in {rows} rows of its training, which did not move (none "
            f"allowed); look at the warnings of its steps; besides, {self.message}"
        )
        return replace(self, measured=float(rows), limit=0.0, message=message)

    @property
    def ok(self) -> bool:
        """Whether the number is within the limit; one that is not finite never is."""
        return self.measured <= self.limit
