"""Data with statistics of its own in each channel, as networks may have been trained on."""

from collections.abc import Iterator

from torch import Tensor

__all__ = ["channel_maps"]


def channel_maps(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yields what is wrong if it is right, and data with channels mapped each by itself.

    To mean 0 and deviation 1, as latents with statistics of their channels and vectors of
    measurements; or onto [-1, 1], as actions. Channels are along dimension 1, or the last one.

    Args:
        x: (rows, *event).
    """
    for axis in sorted({1, x.ndim - 1}):
        others = [dimension for dimension in range(x.ndim) if dimension != axis]
        mean, deviation = x.mean(others, keepdim=True), x.std(others, keepdim=True)
        low, high = x.amin(others, keepdim=True), x.amax(others, keepdim=True)
        if x.shape[axis] == 1 or not bool((deviation > 0).all()):
            continue
        where = (
            f"scaling: the error falls when each channel of the data, along dimension {axis}, is"
        )
        yield (
            f"{where} standardised by its own mean and deviation; scale it as in training",
            (x - mean) / deviation,
        )
        yield (
            f"{where} scaled onto [-1, 1] by its own bounds; scale it as in training",
            2 * (x - low) / (high - low) - 1,
        )
