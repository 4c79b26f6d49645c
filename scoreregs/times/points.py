"""Points in [0, 1) at which a distribution of times is evaluated, (draws, batch).

Each is uniform by itself, so that no choice of points changes the expected gradient. What differs
is how they repel each other: among the draws of a sample, for a smaller variance of its gradient,
and over the batch, for that of whatever the samples share. Low-discrepancy points go with the order
of the batch: shuffle one that comes in the same order at every call, as training does.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from scoreregs.arguments import nearest
from scoreregs.errors import ArgumentError
from scoreregs.schedules.base import time_dtype

__all__ = ["Points", "PointsLike", "PointsName", "as_points"]

Points = Callable[[int, int, torch.device, torch.Generator | None], Tensor]
PointsName = Literal["independent", "stratified", "low_discrepancy"]
PointsLike = PointsName | Points


def independent(
    draws: int, batch: int, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Returns independent points."""
    dtype = time_dtype(device)
    return torch.rand(draws, batch, generator=generator, dtype=dtype, device=device)


def stratified(
    draws: int, batch: int, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Returns one jittered point in each of draws * batch cells.

    A sample's draws lie in different parts of [0, 1), and samples are dealt their cells by chance.
    """
    jitter = independent(draws, batch, device, generator)
    order = independent(draws, batch, device, generator).argsort(1)
    part = torch.arange(draws, device=device)[:, None]
    return (part + (order + jitter) / batch) / draws


def low_discrepancy(
    draws: int, batch: int, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Returns an even grid, shifted by one uniform number: (u + i/n) mod 1 (Kingma et al. 2021)."""
    count = draws * batch
    shift = independent(1, 1, device, generator)
    grid = torch.arange(count, dtype=shift.dtype, device=device).reshape(draws, batch) / count
    return torch.frac(shift + grid)


_NAMED: dict[str, Points] = {
    "independent": independent,
    "stratified": stratified,
    "low_discrepancy": low_discrepancy,
}


def as_points(points: PointsLike) -> Points:
    """Returns the points of a name, or a function of (draws, batch, device, generator) itself.

    Raises:
        ArgumentError: for an unknown name.

    Example:
        >>> as_points("low_discrepancy")(2, 2, torch.device("cpu"), None).sort(0)[0].diff(dim=0)
        tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    if isinstance(points, str) and points in _NAMED:
        return _NAMED[points]
    if callable(points) and not isinstance(points, type):
        return points
    raise ArgumentError(
        f"got points={points!r}, expected one of {', '.join(map(repr, _NAMED))} or a function"
        f"{nearest(points, _NAMED)}"
    )
