"""The errors of the offline-RL integration."""

from __future__ import annotations

from scoreregs.errors import ScoreRegsError

__all__ = ["DataError", "RunError"]


class DataError(ScoreRegsError):
    """A data set cannot be used as it is.

    Args:
        problem: what was got and what was expected.
        source: the file, or the name of the data, where it was found.
        key: the array at fault.
        row: the first row at fault, counted from 0 in the file or in what was kept of it.
        remedy: what the user can do about it.

    Example:
        >>> raise DataError("got nan", source="a.hdf5", key="rewards", row=3, remedy="drop it")
        Traceback (most recent call last):
        scoreregs_offline_rl.errors.DataError: a.hdf5, key 'rewards', row 3: got nan: drop it
    """

    def __init__(
        self,
        problem: str,
        *,
        source: str | None = None,
        key: str | None = None,
        row: int | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.remedy = problem, remedy
        self.source, self.key, self.row = source, key, row
        place = [] if source is None else [source]
        place += [] if key is None else [f"key {key!r}"]
        place += [] if row is None else [f"row {row}"]
        super().__init__(": ".join(filter(None, [", ".join(place), problem, remedy])))

    def with_key(self, key: str | None) -> DataError:
        """Returns the same error about an array that the file calls by another name."""
        return DataError(
            self.problem, source=self.source, key=key, row=self.row, remedy=self.remedy
        )


class RunError(ScoreRegsError):
    """A run, a stage, a policy or one of their files is not in the state that was asked for."""
