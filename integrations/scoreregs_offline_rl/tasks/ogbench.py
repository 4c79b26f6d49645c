"""The names of OGBench: what data set and what environment each stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["OGBENCH_URL", "OGBenchTask"]

OGBENCH_URL = "https://rail.eecs.berkeley.edu/datasets/ogbench"
"""Where OGBench publishes its files."""

# Of mazes only these kinds: D4RL has its own `antmaze-medium-play-v0`.
_NAME = re.compile(
    r"(?P<place>(?:visual-)?(?:(?:point|ant|humanoid)maze-\w+|antsoccer-\w+)"
    r"(?=-(?:navigate|stitch|explore)-)"
    r"|(?:visual-)?(?:cube-\w+|scene|puzzle-\w+)(?=-(?:play|noisy)-))"
    r"-(?P<kind>\w+)(?P<task>-singletask(?:-task\d+)?)?-(?P<version>v\d+)"
)
_ENVIRONMENT = re.compile(
    r"(?:visual-)?(?:(?:point|ant|humanoid)maze-\w+|antsoccer-\w+|cube-\w+|scene|puzzle-\w+)"
    r"-singletask(?:-task\d+)?-v\d+"
)


@dataclass(frozen=True)
class OGBenchTask:
    """A data set of OGBench (Park et al., 2025), with one of its tasks or without.

    Attributes:
        name: as `pointmaze-medium-navigate-singletask-task1-v0`, or `pointmaze-medium-navigate-v0`.
        data_set: the name without its task, which names the file.
        environment: the Gymnasium id of it, which the `ogbench` package registers; None where the
            name has no task: reaching any goal is then the task, and rows have no reward.

    Example:
        >>> task = OGBenchTask.find("pointmaze-medium-navigate-singletask-task1-v0")
        >>> task.data_set, task.environment
        ('pointmaze-medium-navigate-v0', 'pointmaze-medium-singletask-task1-v0')
        >>> OGBenchTask.find("antmaze-medium-play-v2") is None
        True
    """

    name: str
    data_set: str
    environment: str | None

    @property
    def file(self) -> str:
        """The name of its file, without the suffix; rows kept for validation have their own."""
        return f"{self.data_set}-val" if self.name.endswith("-val") else self.data_set

    @classmethod
    def find(cls, name: str) -> OGBenchTask | None:
        """Returns the task of a data set's name; None where OGBench has no such names.

        Args:
            name: of the data set, or of its file without the suffix, `-val` at its end included.
        """
        found = _NAME.fullmatch(name.removesuffix("-val"))
        if found is None:
            return None
        place, kind, task, version = found.group("place", "kind", "task", "version")
        return cls(
            name,
            f"{place}-{kind}-{version}",
            f"{place}{task}-{version}" if task else None,
        )

    @staticmethod
    def is_environment(name: str) -> bool:
        """Returns whether a Gymnasium id is that of a task of OGBench, which success decides.

        Args:
            name: the id.
        """
        return _ENVIRONMENT.fullmatch(name) is not None
