"""The check: errors of a prior by time, and a verdict."""

import math
import time
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from scoreregs.arguments import check_count, check_generator, named_calls
from scoreregs.checking.channel_search import best_channel_map, by_channel
from scoreregs.checking.probe import Errors, Probe, reach
from scoreregs.checking.readings import DataMap, View
from scoreregs.checking.report import PriorReport
from scoreregs.checking.search import (
    SIGNIFICANT,
    Candidate,
    best_reading,
    claimed_reading,
    gain_of,
    penalty_of,
)
from scoreregs.errors import ArgumentError
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.trees import Condition, map_tensors
from scoreregs.validation import check_data

__all__ = ["check_prior"]

_LOG_SNRS = (4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, -4.0)
# At most: rows and their elements, rows of a batch and their elements.
_ROWS, _ELEMENTS, _BATCH_ROWS, _BATCH_ELEMENTS = 1024, 2**20, 4096, 2**20
# Fewer elements are noised several times.
_LEAST_ELEMENTS, _MOST_REPEATS = 2048, 16
# Not a seed that data is likely to be drawn with: noise that equals the data is not noise.
_SEED = 7_310_521
# The prior may miss a constant by what chance does, in standard errors.
_CHANCE = 3.0
# Noise is another to data whose channels are mapped: where no other reading is better, the error
# has to fall by so many times more than a penalty, as structure may be easier to see.
_SURE = 3.0


class _ChannelCause(NamedTuple):
    findings: list[str]
    # The error over that on mapped data.
    ratio: float


@named_calls
def check_prior(
    prior: ScorePrior,
    data: Tensor,
    condition: Condition = None,
    *,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
) -> PriorReport:
    r"""Returns the denoising error of a prior by time, against the best constant.

    $$ e(t) = \tfrac1d\, \mathbb E \| \hat\epsilon(\alpha x + \sigma \epsilon, t) - \epsilon \|^2,
       \qquad \min\big(1,\; \tfrac{\alpha^2}{\sigma^2} \operatorname{Var} x\big) $$

    at log-SNRs from 4 to -4 (moved with the data's variance where that is far from one), on up to
    1024 rows from all over the data, fewer of large events. A posterior mean has the least error of
    all functions of $x_t$: where another prediction type, sign, schedule, time map or affine map of
    the data, or of some of its channels, or another order of those explains the network better, the
    report names it; where no reading does and the error is above the constant's at some time, the
    report is not ok either.

    Args:
        prior: the prior to check.
        data: samples that it should know, (count, *event), at least 2.
        condition: what they are conditioned on, batch first.
        batch_size: how many samples the prior sees at once; by default as many as have 2^20
            elements, at most 4096.
        generator: the source of noise, on the data's device; a fixed one by default.

    Raises:
        ArgumentError: for less than two samples, samples without variance or not finite, or a
            condition of another length.
        PriorError: where the prior does not return a tensor of its input's shape.

    Example:
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> check_prior(prior, torch.randn(500, 1, generator=torch.Generator().manual_seed(0))).ok
        True
    """
    start = time.perf_counter()
    check_prior_type(prior)
    check_data(data, condition, least=2)
    check_generator(generator, data.device)
    size = data[0].numel()
    if batch_size is None:
        batch_size = max(1, min(_BATCH_ROWS, _BATCH_ELEMENTS // size))
    check_count("batch_size", batch_size)
    rows = min(len(data), max(16, min(_ROWS, _ELEMENTS // size)))
    probe = _probe(prior, *_spread(data, condition, rows), batch_size, generator)
    log_snr = _log_snrs(probe)
    plain = probe.measure_one(claimed_reading(probe), log_snr, rows)
    constants = probe.constant(plain.log_snr)
    best = best_reading(probe, log_snr, plain)
    cause = _cause(probe, plain, constants, best)
    channels = _by_channel(probe, plain, best)
    if channels is not None:
        best, cause = None, "; besides, ".join(channels.findings)
    explained = best if cause is not None else None
    reached = plain.reached
    levels = probe.levels(View(prior.schedule), [DataMap()], log_snr[reached])
    return PriorReport(
        t=tuple(levels.t[0].tolist()),
        log_snr=tuple(levels.log_snr[0].tolist()),
        error=tuple(plain.error[reached].mean(1).tolist()),
        constant=tuple(torch.minimum(*(c[reached].mean(1) for c in constants)).tolist()),
        ok=cause is None,
        cause=cause,
        reading=None if explained is None else explained.reading,
        ratio=math.exp(explained.gain) if explained else channels.ratio if channels else 1.0,
        rows=rows,
        seconds=time.perf_counter() - start,
    )


def _spread(data: Tensor, condition: Condition, rows: int) -> tuple[Tensor, Condition]:
    """Returns rows from all over the data, which may be sorted, and their condition.

    In a random order, as the search looks at the first of them.
    """
    if rows == len(data):
        return data, condition
    where = torch.linspace(0, len(data) - 1, rows, dtype=torch.float64).round().long()
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(_SEED))
    where = where[order].to(data.device)
    return data[where], map_tensors(lambda c: c[where], condition)


def _probe(
    prior: ScorePrior,
    data: Tensor,
    condition: Condition,
    batch_size: int,
    generator: torch.Generator | None,
) -> Probe:
    x = data.detach().to(torch.promote_types(data.dtype, torch.float32))
    if not bool(x.std(0).max() > 0):
        raise ArgumentError("got data without variance, expected samples that differ")
    generator = generator or torch.Generator(data.device).manual_seed(_SEED)
    repeats = min(_MOST_REPEATS, math.ceil(_LEAST_ELEMENTS / x.numel()))
    noise = torch.randn(repeats, *x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return Probe(prior, x, condition, noise, batch_size)


def _log_snrs(probe: Probe) -> Tensor:
    """Returns the probed levels, in units of the data's variance."""
    low, high = reach(probe.prior.schedule)
    log_variance = probe.log_variance
    centre = -round(log_variance) if abs(log_variance) > 1.5 else 0
    raw = torch.tensor(_LOG_SNRS, dtype=torch.float64)
    for log_snr in (raw + centre, raw):
        if bool(((log_snr <= high) & (log_snr >= low)).any()):
            return log_snr + log_variance
    raise ArgumentError(
        f"got a schedule with log-SNRs from {low:.3g} to {high:.3g}, "
        f"expected some between {_LOG_SNRS[-1]:g} and {_LOG_SNRS[0]:g}: widen it"
    )


def _cause(
    probe: Probe, plain: Errors, constants: tuple[Tensor, Tensor], best: Candidate | None
) -> str | None:
    if best is not None and _beats(best.errors):
        return "; besides, ".join(best.findings)
    above = _above(plain.error, constants) & plain.reached
    if best is None and not bool(above.any()):
        return None
    if best is not None or bool((above == plain.reached).all()):
        return "no other reading is better: is it trained on such data with this condition?"
    where = (plain.log_snr - probe.log_variance)[above].round(decimals=3) + 0.0  # no minus zero
    return (
        f"weak: the error is above that of the best constant at log-SNRs from {where.min():.3g} to "
        f"{where.max():.3g}, and no other reading is better; train it longer there, or keep the "
        "times of the objective away"
    )


def _by_channel(probe: Probe, plain: Errors, best: Candidate | None) -> _ChannelCause | None:
    """Returns which map of channels explains the prior better than the best common reading.

    It does where the prior has less error on mapped data, and would be ok on it.
    """
    claimed = claimed_reading(probe)
    channels = best_channel_map(probe, claimed)
    if channels is None:
        return None
    mapped, axis = replace(probe, x=channels(probe.x)), channels.axis
    try:
        log_snr = _log_snrs(mapped)
    except ArgumentError:  # levels that the schedule does not reach
        return None
    errors = mapped.measure_one(claimed, log_snr, len(mapped.x))
    of_mapped = by_channel(errors, mapped.x, axis)
    gain, z = gain_of(by_channel(plain, probe.x, axis), of_mapped)
    penalty = penalty_of(len(channels.findings))
    if best is None:
        enough = gain > _SURE * penalty
    else:
        further, _ = gain_of(by_channel(best.errors, probe.x, axis), of_mapped)
        enough = further > penalty - penalty_of(len(best.findings))
    if z < SIGNIFICANT or not enough:
        return None
    other = best_reading(mapped, log_snr, errors)
    if _cause(mapped, errors, mapped.constant(errors.log_snr), other) is not None:
        return None
    return _ChannelCause(channels.findings, math.exp(gain))


def _beats(errors: Errors) -> bool:
    """Whether a reading beats the best constant, on the whole."""
    snr = torch.exp(errors.log_snr)
    return (errors.error.mean(1) / snr.clamp(max=1)).log()[errors.reached].mean().item() < 0


def _above(error: Tensor, constants: tuple[Tensor, Tensor]) -> Tensor:
    """Returns at which levels the error is above the best constant's, beyond chance."""
    above = torch.zeros(len(error), dtype=torch.bool)
    for constant in constants:
        excess = error - constant
        chance = _CHANCE * excess.std(1) / math.sqrt(excess.shape[1])
        above |= ~(excess.mean(1) <= chance)
    return above
