"""Pictures, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["drawing"]


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yields a figure of a size in inches, which is written as a PNG when the block succeeds.

    It knows nothing of pyplot, so the user's backend and figures are left alone.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "offline-rl") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
