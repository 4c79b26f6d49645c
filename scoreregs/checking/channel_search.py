"""Which map of the data's channels explains a prior best."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from scoreregs.checking.channels import ChannelMap, axes, moves, statistics, whole_maps
from scoreregs.checking.pattern import least_place
from scoreregs.checking.probe import Errors, Probe, reach
from scoreregs.checking.readings import Reading
from scoreregs.checking.search import log_relative, nan_as, penalty_of, rows_of
from scoreregs.trees import map_tensors

__all__ = ["best_channel_map", "by_channel"]

# The schedule's log-SNRs that maps are compared at, for data of variance one.
_LOG_SNRS = (3.0, 1.0, 0.0, -1.0, -3.0)
# Elements that each map is seen on, and one that is fitted; at once.
_ELEMENTS, _FITTED, _AT_ONCE = 1024, 8192, 2**21
# A further channel has to lower the logarithm of the error by this.
_STEP = 0.02
# Channels that are named at most.
_MOST_MOVES = 4
_COARSE_STEPS, _FINE_STEPS = (0.4, 0.05), (0.1, 0.0125)
# Of a scale, and of a shift in deviations, where the map is as good without.
_NEGLIGIBLE = 0.1


def best_channel_map(probe: Probe, reading: Reading) -> ChannelMap | None:
    """Returns the map of channels under which a reading has the least error, None without any."""
    found: list[tuple[float, ChannelMap]] = []
    for axis in axes(probe.x):
        stepwise = _stepwise(probe, reading, axis)
        maps = [*whole_maps(probe.x, axis), *([stepwise] if stepwise.findings else [])]
        scores = _scores(probe, reading, maps, rows_of(probe, _FITTED)).tolist()
        found += [(s + penalty_of(len(m.findings)), m) for s, m in zip(scores, maps, strict=True)]
    return min(found, key=lambda pair: pair[0], default=(0.0, None))[1]


def by_channel(errors: Errors, x: Tensor, axis: int) -> Errors:
    """Returns errors relative to those of the best linear guess from all channels.

    Args:
        errors: on all rows of the data.
        x: the data.
        axis: that channels are along.
    """
    covariance = _covariance(x, axis)
    log_variance = covariance.diagonal().mean().log()
    return replace(errors, guess=_linear(errors.log_snr - log_variance, covariance))


def _covariance(x: Tensor, axis: int) -> Tensor:
    """Returns the channels' covariance over the rows, a mean over places, (channels, channels)."""
    centred = (x - x.mean(0)).double().movedim(axis, -1)
    places = centred[..., 0].numel() - centred[0, ..., 0].numel()
    return torch.einsum("...i, ...j -> ij", centred, centred).cpu() / places


def _linear(log_snr: Tensor, covariance: Tensor) -> Tensor:
    """Returns the error of the best linear guess of the noise at levels of a schedule.

    Args:
        log_snr: (levels,).
        covariance: of channels, (*maps, channels, channels).

    Returns:
        (levels, *maps).
    """
    variances = torch.linalg.eigvalsh(covariance).clamp(min=0)
    each = log_snr.reshape(-1, *[1] * variances.ndim)
    return torch.sigmoid(each + variances.log()).mean(-1)


def _scores(probe: Probe, reading: Reading, maps: Sequence[ChannelMap], rows: int) -> Tensor:
    """Returns the score of a reading under each map, on the first rows, (maps,)."""
    at_once = max(1, _AT_ONCE // (rows * probe.x[0].numel()))
    parts = [
        _scores_at_once(probe, reading, maps[i : i + at_once], rows)
        for i in range(0, len(maps), at_once)
    ]
    return torch.cat(parts) if parts else torch.empty(0)


def _scores_at_once(
    probe: Probe, reading: Reading, maps: Sequence[ChannelMap], rows: int
) -> Tensor:
    covariances = _mapped_covariances(probe.x, maps)
    # Of the middle channel: one that is scaled far off does not move the levels of all.
    middle = covariances.diagonal(dim1=1, dim2=2).median().log().item()
    low, high = reach(reading.schedule)
    log_snr = torch.tensor(_LOG_SNRS, dtype=torch.float64)
    log_snr = (log_snr - (round(middle) if abs(middle) > 1.5 else 0)).clamp(low, high).unique()
    each = torch.arange(rows, device=probe.x.device).repeat(len(maps))
    some = replace(
        probe,
        x=torch.cat([m(probe.x[:rows]) for m in maps]),
        noise=probe.noise[:, each],
        condition=map_tensors(lambda c: c[each], probe.condition),
    )
    errors = some.measure_one(reading, log_snr + some.log_variance, len(some.x))
    error = errors.error.unflatten(1, (len(maps), rows)).mean(2)
    levels = log_relative(error / _linear(log_snr, covariances))[errors.reached]
    return nan_as(math.inf, levels.mean(0))


def _mapped_covariances(x: Tensor, maps: Sequence[ChannelMap]) -> Tensor:
    """Returns the channels' covariance under each map, (maps, channels, channels)."""
    order = torch.tensor([m.order for m in maps])
    scale = torch.tensor([m.scale for m in maps], dtype=torch.float64)
    covariance = _covariance(x, maps[0].axis)[order[:, :, None], order[:, None]]
    return scale[:, :, None] * covariance * scale[:, None]


def _stepwise(probe: Probe, reading: Reading, axis: int) -> ChannelMap:
    """Returns a map of few channels, found one after the other; the identity where none helps."""
    mean, deviation = (s.tolist() for s in statistics(probe.x, axis))
    found = ChannelMap.identity(axis, len(mean))
    rows = rows_of(probe, _ELEMENTS)
    for _ in range(_MOST_MOVES):
        trials = [(found, None), *moves(found, mean, deviation)]
        scores = _scores(probe, reading, [trial for trial, _ in trials], rows)
        best = int(scores.argmin())
        if scores[best] > scores[0] - _STEP:
            break
        found, place = trials[best]
        if place is not None:
            channel = found.order[place]
            found = _fitted(probe, reading, found, place, mean[channel], deviation[channel])
    return found


def _fitted(
    probe: Probe,
    reading: Reading,
    found: ChannelMap,
    place: int,
    mean: float,
    deviation: float,
) -> ChannelMap:
    """Returns the map with the scale and shift of one place fitted."""
    at = (found.scale[place], found.scale[place] * mean + found.shift[place])
    for steps, elements in ((_COARSE_STEPS, _ELEMENTS), (_FINE_STEPS, _FITTED)):
        rows = rows_of(probe, elements)

        def scores(places: Sequence[tuple[float, float]], rows: int = rows) -> list[float]:
            maps = [found.with_channel(place, s, centre - s * mean) for s, centre in places]
            return _scores(probe, reading, maps, rows).tolist()

        at = least_place(scores, at, deviation, steps)
    return _plainest(probe, reading, found, place, (mean, deviation), at)


def _plainest(
    probe: Probe,
    reading: Reading,
    found: ChannelMap,
    place: int,
    channel: tuple[float, float],
    at: tuple[float, float],
) -> ChannelMap:
    """Returns the map without a scale or without a shift where it is hardly worse."""
    mean, deviation = channel
    scale, sign = at[0], math.copysign(1.0, at[0])
    maps = [found.with_channel(place, scale, at[1] - scale * mean)]
    for plain in (scale, sign) if abs(abs(scale) - 1) < _NEGLIGIBLE else (scale,):
        shift = at[1] - plain * mean
        small = abs(shift) < _NEGLIGIBLE * abs(scale) * deviation
        maps.append(found.with_channel(place, plain, 0.0 if small else shift))
    scores = _scores(probe, reading, maps, rows_of(probe, _FITTED)).tolist()
    plainest = [m for m, score in zip(maps, scores, strict=True) if score < scores[0] + _STEP / 2]
    return plainest[-1]
