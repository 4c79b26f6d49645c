"""Table 1 of the paper (Chen et al., 2024, page 7): scores as D4RL normalises them."""

from typing import NamedTuple

__all__ = ["AVERAGES", "METHODS", "PUBLISHED", "Published", "family"]

METHODS = ("BEAR", "TD3+BC", "IQL", "SfBC", "Diffuser", "Diffusion-QL", "QGPO", "IDQL")
"""The columns before SRPO's."""


class Published(NamedTuple):
    """A line of the table.

    Attributes:
        others: Of `METHODS`; None where the table has a dash.
        srpo: Mean over six seeds.
        spread: Their standard deviation; None for an average.
    """

    others: tuple[float | None, ...]
    srpo: float
    spread: float | None


PUBLISHED = {
    "halfcheetah-medium-expert-v2": Published(
        (53.4, 90.7, 86.7, 92.6, 79.8, 96.8, 93.5, 95.9), 92.2, 3.0
    ),
    "hopper-medium-expert-v2": Published(
        (96.3, 98.0, 91.5, 108.6, 107.2, 111.1, 108.0, 108.6), 100.1, 13.9
    ),
    "walker2d-medium-expert-v2": Published(
        (40.1, 110.1, 109.6, 109.8, 108.4, 110.1, 110.7, 112.7), 114.0, 2.1
    ),
    "halfcheetah-medium-v2": Published((41.7, 48.3, 47.4, 45.9, 44.2, 51.1, 54.1, 51.0), 60.4, 0.8),
    "hopper-medium-v2": Published((52.1, 59.3, 66.3, 57.1, 58.5, 90.5, 98.0, 65.4), 95.5, 2.0),
    "walker2d-medium-v2": Published((59.1, 83.7, 78.3, 77.9, 79.7, 87.0, 86.0, 82.5), 84.4, 4.4),
    "halfcheetah-medium-replay-v2": Published(
        (38.6, 44.6, 44.2, 37.1, 42.2, 47.8, 47.6, 45.9), 51.4, 3.4
    ),
    "hopper-medium-replay-v2": Published(
        (33.7, 60.9, 94.7, 86.2, 101.3, 100.7, 96.9, 92.1), 101.2, 1.0
    ),
    "walker2d-medium-replay-v2": Published(
        (19.2, 81.8, 73.9, 65.1, 61.2, 95.5, 84.4, 85.1), 84.6, 7.1
    ),
    "antmaze-umaze-v2": Published((73.0, 78.6, 87.5, 92.0, None, 93.4, 96.4, 94.0), 97.1, 2.7),
    "antmaze-umaze-diverse-v2": Published(
        (61.0, 71.4, 62.2, 85.3, None, 66.2, 74.4, 80.2), 82.1, 10.8
    ),
    "antmaze-medium-play-v2": Published((0.0, 10.6, 71.2, 81.3, None, 76.6, 83.6, 84.5), 80.7, 7.1),
    "antmaze-medium-diverse-v2": Published(
        (8.0, 3.0, 70.0, 82.0, None, 78.6, 83.8, 84.8), 75.0, 12.3
    ),
    "antmaze-large-play-v2": Published((0.0, 0.2, 39.6, 59.3, None, 46.4, 66.6, 63.5), 53.6, 12.5),
    "antmaze-large-diverse-v2": Published(
        (0.0, 0.0, 47.5, 45.5, None, 56.6, 64.8, 67.9), 53.6, 6.3
    ),
}
"""The lines by D4RL's name, in the table's order."""

AVERAGES = {
    "Locomotion": Published((51.9, 75.3, 76.9, 75.6, 75.3, 88.0, 86.6, 82.1), 87.1, None),
    "AntMaze": Published((23.7, 27.3, 63.0, 74.2, None, 69.6, 78.3, 79.1), 73.6, None),
}
"""As the table prints them; that of BEAR is not the mean of its column (48.2), nor is Diffuser's
(75.8), nor Diffusion-QL's (87.8)."""


def family(task: str) -> str:
    """Returns which of the table's two averages a task is in."""
    return "AntMaze" if task.startswith("antmaze") else "Locomotion"
