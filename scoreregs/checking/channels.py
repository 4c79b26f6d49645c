"""Maps of the data's channels, each by itself, that a network may have been trained behind."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

__all__ = ["ChannelMap", "axes", "moves", "statistics", "whole_maps"]

# More of them are measurements or a dimension of space, of which one is hardly wrong.
_MOST_CHANNELS = 32
# Of one channel: its scale is off by one of these factors, or its mean by deviations.
_SCALES, _SHIFTS = (0.25, 0.5, 0.7, 1.4, 2.0, 4.0), (-2.0, -0.8, 0.8, 2.0)


@dataclass(frozen=True)
class ChannelMap:
    """A map of data: its channels in another order, then scale x + shift of each by itself.

    Attributes:
        axis: the dimension that channels are along.
        order: which channel of the data each one is.
        scale: of each, not zero.
        shift: of each.
        name: what is done to each channel, where it is done to all.
    """

    axis: int
    order: tuple[int, ...]
    scale: tuple[float, ...]
    shift: tuple[float, ...]
    name: str = ""

    @classmethod
    def identity(cls, axis: int, count: int) -> "ChannelMap":
        """Returns the map that leaves the data as it is."""
        return cls(axis, tuple(range(count)), (1.0,) * count, (0.0,) * count)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the mapped data."""
        shape = [-1 if d == self.axis else 1 for d in range(x.ndim)]
        scale, shift = (x.new_tensor(v).reshape(shape) for v in (self.scale, self.shift))
        return scale * x.index_select(self.axis, x.new_tensor(self.order).long()) + shift

    def with_channel(self, place: int, scale: float, shift: float) -> "ChannelMap":
        """Returns the map with another scale and shift of one place."""
        scales, shifts = list(self.scale), list(self.shift)
        scales[place], shifts[place] = scale, shift
        return replace(self, scale=tuple(scales), shift=tuple(shifts))

    def exchanged(self, first: int, second: int) -> "ChannelMap":
        """Returns the map with two places exchanged."""
        order = list(self.order)
        order[first], order[second] = order[second], order[first]
        return replace(self, order=tuple(order))

    def is_scaled(self, place: int) -> bool:
        """Whether a place has a scale or shift."""
        return (self.scale[place], self.shift[place]) != (1.0, 0.0)

    @property
    def findings(self) -> list[str]:
        """What is wrong if the mapped data is right, each with its remedy."""
        along = f"along dimension {self.axis}"
        if self.name:
            return [
                f"scaling: the error falls when each channel of the data, {along}, is {self.name}; "
                "scale it as in training"
            ]
        found = [self._of_order(along)] if sorted(self.order) != list(self.order) else []
        for place, channel in enumerate(self.order):
            if self.is_scaled(place):
                found.append(_of_channel(channel, along, self.scale[place], self.shift[place]))
        return found

    def _of_order(self, along: str) -> str:
        moved = [i for i, channel in enumerate(self.order) if i != channel]
        if all(self.order[self.order[i]] == i for i in moved):
            pairs = [f"{i} and {self.order[i]}" for i in moved if i < self.order[i]]
            what, how = f"{', '.join(pairs)} of the data, {along}, look swapped", "are exchanged"
        else:
            order = ", ".join(str(self.order[i]) for i in moved)
            listed = ", ".join(map(str, moved))
            what = f"{listed} of the data, {along}, look to be in another order"
            how = f"are taken in the order {order}"
        return f"channels: channels {what}: the error falls when they {how}; order them as trained"


def _of_channel(channel: int, along: str, scale: float, shift: float) -> str:
    # The mistake is the inverse of the map that takes it back.
    looks = []
    if scale < 0:
        looks.append("negated")
    if abs(scale) != 1:
        looks.append(f"scaled by about {_about(abs(1 / scale))}")
    if shift:
        looks.append(f"shifted by about {_about(-shift / scale)}")
    mapped = "" if scale == 1 else f" * {scale:.3g}"
    mapped += f" {'-' if shift < 0 else '+'} {abs(shift):.3g}" if shift else ""
    return (
        f"scaling: channel {channel} of the data, {along}, looks {' and '.join(looks)}: the error "
        f"falls when it is x{mapped}; scale it as in training"
    )


def _about(number: float) -> str:
    return f"{float(f'{number:.2g}'):g}"


def axes(x: Tensor) -> Iterator[int]:
    """Yields the dimensions that channels may be along: 1, and the last one."""
    for axis in sorted({1, x.ndim - 1}):
        if x.shape[axis] > 1:
            yield axis


def statistics(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Returns mean and deviation of each channel, (channels,)."""
    others = [dimension for dimension in range(x.ndim) if dimension != axis]
    return x.double().mean(others), x.double().std(others)


def whole_maps(x: Tensor, axis: int) -> Iterator[ChannelMap]:
    """Yields maps of every channel by its own statistics.

    To mean 0 and deviation 1, as latents with statistics of their channels and vectors of
    measurements; or onto [-1, 1], as actions.
    """
    others = [dimension for dimension in range(x.ndim) if dimension != axis]
    (mean, deviation), low, high = statistics(x, axis), x.amin(others), x.amax(others)
    if not bool((deviation > 0).all()):
        return
    middle, half = (high + low).double() / 2, (high - low).double() / 2
    for name, centre, width in (
        ("standardised by its own mean and deviation", mean, deviation),
        ("scaled onto [-1, 1] by its own bounds", middle, half),
    ):
        scale, shift = (1 / width).tolist(), (-centre / width).tolist()
        yield ChannelMap(axis, tuple(range(len(mean))), tuple(scale), tuple(shift), name)


def moves(
    given: ChannelMap, means: Sequence[float], deviations: Sequence[float]
) -> Iterator[tuple[ChannelMap, int | None]]:
    """Yields maps that differ from one in the place that is given beside, or in their order.

    Two places are exchanged; or all are turned around or on, as a quaternion's, in which no
    exchange of two need be better than none.

    Args:
        given: the map.
        means: of the data's channels.
        deviations: of the data's channels; one without is not scaled.
    """
    count = len(given.order)
    if count > _MOST_CHANNELS:
        return
    free = [place for place in range(count) if not given.is_scaled(place)]
    if len(free) == count:
        yield replace(given, order=given.order[::-1]), None
        for start in range(1, count):
            yield replace(given, order=given.order[start:] + given.order[:start]), None
    for i, first in enumerate(free):
        for second in free[i + 1 :]:
            yield given.exchanged(first, second), None
    middle = sorted(deviations)[(count - 1) // 2]
    for place in free:
        mean, deviation = means[given.order[place]], deviations[given.order[place]]
        if deviation <= 0:
            continue
        # As the others are, and as data is that was standardised.
        own = {1 / deviation, middle / deviation} - {0.0, 1.0}
        for scale in (-1.0, *_SCALES, *sorted(own)):
            yield given.with_channel(place, scale, 0.0), place
            if scale in own:
                yield given.with_channel(place, scale, -scale * mean), place
        for offset in _SHIFTS:
            yield given.with_channel(place, 1.0, offset * deviation), place
