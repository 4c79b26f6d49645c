"""Which reading explains a prior best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from scoreregs.checking.pattern import least_place
from scoreregs.checking.probe import Errors, Probe
from scoreregs.checking.readings import DataMap, Reading, View, named_maps, predictions_under, views
from scoreregs.predictions import Prediction

__all__ = [
    "SIGNIFICANT",
    "Candidate",
    "best_reading",
    "claimed_reading",
    "gain_of",
    "log_relative",
    "nan_as",
    "penalty_of",
    "rows_of",
]

# What a reading has to gain: this share of the error for its first mistake, and for each further
# one; and this many standard errors.
_FIRST, _FURTHER, SIGNIFICANT = 0.015, 0.03, 4.0
# Errors below this share of a Gaussian's count as none; infinite ones count as this.
_FLOOR, _INFINITE = 1e-3, 1e30
# The search looks at few levels and elements; what is not much worse than its best goes on.
_COARSE_ELEMENTS, _COARSE_MARGIN, _FINE_MARGIN = 256, 0.3, 0.06
# What is found at last has its map of the data fitted to more.
_FINE_ELEMENTS = 4096
_FITTED, _FINALISTS = 10, 12
# Of a pattern search, of a deviation, on few elements and on more.
_COARSE_STEPS, _FINE_STEPS = (0.4, 0.05), (0.1, 0.0125)


@dataclass(frozen=True)
class Candidate:
    """A reading that explains the prior better than what is claimed.

    Attributes:
        reading: the reading.
        errors: its errors.
        gain: minus the mean over levels of the logarithm of the ratio of errors.
        findings: what is wrong if it is the right one.
    """

    reading: Reading
    errors: Errors
    gain: float
    findings: list[str]


class _Scored(NamedTuple):
    reading: Reading
    # The logarithm of the error relative to a Gaussian's, by level; NaN where it is not reached.
    levels: Tensor


def claimed_reading(probe: Probe) -> Reading:
    """Returns the prior read as it is plugged in."""
    return Reading(probe.prior.prediction, View(probe.prior.schedule))


def best_reading(probe: Probe, log_snr: Tensor, plain: Errors) -> Candidate | None:
    """Returns the reading that explains the prior, or None where that is the claimed one.

    A posterior mean has the least error of all functions of x_t. So at one log-SNR no other
    reading of a right prior has less error than the right one.

    Args:
        probe: the prior and the data.
        log_snr: the levels, in units of the data's variance.
        plain: the errors of the claimed reading there.
    """
    claimed = claimed_reading(probe)
    rows, inner = rows_of(probe, _COARSE_ELEMENTS), log_snr[1::2]
    found = _search(probe, inner, rows)
    kept = _least(found, _COARSE_MARGIN)
    # A right reading of data that is not yet mapped right may look worse than many wrong ones.
    fitted = _of_each_kind([_Scored(claimed, found[0].levels), *found])
    kept += [r for r in _refined(probe, inner, rows, fitted, _COARSE_STEPS) if r not in kept]
    scored = [_score(r, probe.measure_one(r, log_snr, rows)) for r in kept]
    kept = [r for r in _least(scored, _FINE_MARGIN) if r != claimed]
    errors = [plain, *(probe.measure_one(r, log_snr, len(probe.x)) for r in kept)]
    readings = [claimed, *kept]
    best, penalty = _best(readings, errors)
    if readings[best].data != claimed.data:
        some = rows_of(probe, _FINE_ELEMENTS)
        finer = _refined(probe, inner, some, [readings[best]], _FINE_STEPS)
        readings += [r for r in finer if r not in readings]
        errors += [probe.measure_one(r, log_snr, len(probe.x)) for r in readings[len(errors) :]]
        best, penalty = _best(readings, errors)
    reading = readings[best]
    gain, z = gain_of(plain, errors[best])
    if best == 0 or gain < penalty or z < SIGNIFICANT:
        return None
    return Candidate(reading, errors[best], gain, reading.findings(claimed))


def _best(readings: Sequence[Reading], errors: Sequence[Errors]) -> tuple[int, float]:
    """Returns which reading explains the prior best, the first being claimed, and its penalty."""
    regrets = _regrets([_score(*pair) for pair in zip(readings, errors, strict=True)])
    penalties = [_penalty(reading, reading.findings(readings[0])) for reading in readings]
    best = min(range(len(readings)), key=lambda i: regrets[i] + penalties[i])
    return best, penalties[best]


def _penalty(reading: Reading, findings: Sequence[str]) -> float:
    """Returns what a reading has to gain; a map of the data without a name counts twice."""
    return penalty_of(len(findings) + (reading.data.shift != 0 and not reading.data.name))


def penalty_of(mistakes: int) -> float:
    """Returns what a reading has to gain for so many mistakes."""
    return _FIRST + _FURTHER * (mistakes - 1) if mistakes else 0.0


def _score(reading: Reading, errors: Errors) -> _Scored:
    return _Scored(reading, _log_levels(errors))


def nan_as(worst: float, errors: Tensor) -> Tensor:
    """Returns errors in which NaN, which a network may predict, is as bad as is said."""
    return torch.where(errors.isnan(), worst, errors)


def log_relative(relative: Tensor) -> Tensor:
    """Returns the logarithm of errors relative to a Gaussian's, bounded on both sides."""
    return (nan_as(_INFINITE, relative).clamp(max=_INFINITE) + _FLOOR).log()


def _log_levels(errors: Errors) -> Tensor:
    return torch.where(errors.reached, log_relative(errors.relative.mean(1)), math.nan)


def _regrets(scored: Sequence[_Scored]) -> list[float]:
    """Returns how far each is above the best at a level, a mean over the levels that it reaches."""
    levels = torch.stack([s.levels for s in scored])
    least = nan_as(math.inf, levels).amin(0)
    return nan_as(math.inf, (levels - least).nanmean(1)).tolist()


def _least(scored: Sequence[_Scored], margin: float) -> list[Reading]:
    """Returns the readings whose regret is near to the least, in its order."""
    regrets = _regrets(scored)
    order = sorted(range(len(scored)), key=lambda i: regrets[i])[:_FINALISTS]
    return [scored[i].reading for i in order if regrets[i] <= regrets[order[0]] + margin]


def gain_of(plain: Errors, other: Errors) -> tuple[float, float]:
    """Returns how much less the other's error is, and in standard errors, rows being paired.

    Both are relative to a linear guess, and it is a mean over levels of the ratio's logarithm.

    The right reading has less error everywhere: one that has more at most levels gains nothing.
    """
    both = plain.reached & other.reached
    if not bool(both.any()):
        return math.inf, math.inf
    first = nan_as(_INFINITE, plain.relative[both]).clamp(max=_INFINITE)
    second = nan_as(_INFINITE, other.relative[both]).clamp(max=_INFINITE)
    before, after = first.mean(1) + _FLOOR, second.mean(1) + _FLOOR
    by_level = before.log() - after.log()
    if by_level.median() <= 0:
        return -math.inf, 0.0
    gain = by_level.mean().item()
    # Each row's share of the gain, to first order.
    row = (first / before[:, None] - second / after[:, None]).mean(0)
    deviation = row.std().item() / math.sqrt(len(row))
    return gain, gain / deviation if deviation > 0 else math.copysign(math.inf, gain)


def _search(probe: Probe, log_snr: Tensor, rows: int) -> list[_Scored]:
    """Returns all readings, on a few levels and rows."""
    scored: list[_Scored] = []
    readers: dict[int, list[tuple[Prediction, float]]] = {}
    for view, maps in views(probe.prior, probe.x):
        key = id(view.schedule)
        if key not in readers:
            predictions = predictions_under(probe.prior, view.schedule)
            readers[key] = [(p, sign) for p in predictions for sign in (1.0, -1.0)]
        try:
            found = probe.measure(view, maps, readers[key], log_snr, rows)
        # A prior may not bear what it is not meant for, as a time beyond its table.
        except Exception:  # noqa: S112
            continue
        scored += [_score(reading, errors) for reading, errors in found.items()]
    return scored


def rows_of(probe: Probe, elements: int) -> int:
    """Returns how many rows, seen with every noise, have so many elements."""
    wanted = math.ceil(elements / (probe.x[0].numel() * 2 * len(probe.noise)))
    return min(len(probe.x), max(2, wanted))


def _refined(
    probe: Probe,
    log_snr: Tensor,
    rows: int,
    readings: Sequence[Reading],
    steps: tuple[float, float],
) -> list[Reading]:
    """Returns readings with the map of the data that suits each best."""
    refined: list[Reading] = []
    deviation = probe.x.double().std().item()
    for reading in readings:
        data = _fitted(probe, log_snr, rows, reading, steps)
        near = [m for m in named_maps(probe.x) if m.is_near(data, deviation)]
        refined += [replace(reading, data=m) for m in (near or [data])]
    return refined


def _of_each_kind(scored: Sequence[_Scored]) -> list[Reading]:
    """Returns the first, then the best of other kinds, which differ in more than the data's map."""
    regrets = _regrets(scored)
    kinds: dict[object, Reading] = {}
    for i in [0, *sorted(range(1, len(scored)), key=lambda i: regrets[i])]:
        reading = scored[i].reading
        kind = (reading.prediction, reading.schedule, reading.view.time, reading.sign)
        if kind not in kinds and len(kinds) < _FITTED:
            kinds[kind] = reading
    return list(kinds.values())


def _fitted(
    probe: Probe, log_snr: Tensor, rows: int, reading: Reading, steps: tuple[float, float]
) -> DataMap:
    """Returns the affine map of least error, by a pattern search from a reading's own."""
    mean, deviation = probe.x.double().mean().item(), probe.x.double().std().item()
    reader = [(reading.prediction, reading.sign)]

    def scores(places: Sequence[tuple[float, float]]) -> list[float]:
        maps = [DataMap(scale, centre - scale * mean) for scale, centre in places]
        found = probe.measure(reading.view, maps, reader, log_snr, rows).values()
        return [nan_as(math.inf, _log_levels(e).nanmean()).item() for e in found]

    start = (reading.data.scale, reading.data.scale * mean + reading.data.shift)
    scale, centre = least_place(scores, start, deviation, steps)
    shift = centre - scale * mean
    return DataMap(scale, shift if abs(shift) > 0.05 * scale * deviation else 0.0)
