"""One look for all figures: colours that colour-blind readers can tell apart, sizes, labels."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure

from scoreregs_offline_rl.files import replacing

__all__ = [
    "BLACK",
    "BLUE",
    "COLORS",
    "DATA",
    "DENSITY",
    "GREEN",
    "INVERSE_BETA",
    "LINES",
    "MARKERS",
    "ORANGE",
    "PINK",
    "PLANE",
    "SKY",
    "VALUE",
    "VERMILION",
    "YELLOW",
    "figure",
    "plane",
    "save",
    "styled",
]

# Okabe and Ito's eight.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PINK = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, BLACK)
# So that a curve is known without its colour too.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (1, 1)))
DATA = "0.65"
DENSITY = "cividis"
VALUE = "0.75"
# The dark part of a map of even lightness: its end would not be seen on white.
INVERSE_BETA: Colormap = ListedColormap(mpl.colormaps["plasma"](np.linspace(0, 0.85, 256)))
PLANE = 4.6
_RC: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
}


@contextmanager
def styled() -> Iterator[None]:
    """A context with the fonts and lines of these figures."""
    with mpl.rc_context(_RC):
        yield


def figure(
    width: float, height: float, *, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """Returns an empty figure of a size in inches; at most 13 wide, so that text stays readable.

    A grid of panels of equal sides is tightest with "compressed".
    """
    return Figure(figsize=(width, height), layout=layout)


def plane(axis: Axes, title: str = "", *, labels: bool = True, size: float = 11) -> None:
    """Sets a panel of the action plane: equal units, the same limits and ticks everywhere."""
    axis.set(xlim=(-PLANE, PLANE), ylim=(-PLANE, PLANE), xticks=(-4, 0, 4), yticks=(-4, 0, 4))
    axis.set_aspect("equal")
    axis.set_title(title, fontsize=size)
    for spine in axis.spines.values():
        spine.set_visible(True)
    if labels:
        axis.set(xlabel="action $a_1$", ylabel="action $a_2$")
    else:
        axis.tick_params(labelbottom=False, labelleft=False)


def save(found: Figure, path: Path) -> None:
    """Writes a PNG without a date, so that the same figure is the same file."""
    with replacing(path) as partial, styled():
        found.savefig(
            partial, dpi=110, bbox_inches="tight", pad_inches=0.12, metadata={"Software": None}
        )
