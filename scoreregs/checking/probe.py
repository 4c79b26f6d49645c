"""The denoising error of a prior under many readings, in bounded memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from scoreregs.checking.readings import DataMap, Reading, View
from scoreregs.kernel import diffuse
from scoreregs.predictions import Prediction, expand
from scoreregs.prior import ScorePrior
from scoreregs.schedules import NoiseLevel, NoiseSchedule, as_time
from scoreregs.trees import Condition, map_tensors

__all__ = ["Errors", "Probe"]


@dataclass(frozen=True)
class Errors:
    """The squared errors of a reading, on the CPU; NaN where they are not measured.

    Attributes:
        error: of each level and row of the data, (levels, rows), a mean over an event's elements.
        log_snr: of the levels, in units of the data's variance, (levels,); NaN where the schedule
            does not reach them.
        guess: the error of the best linear guess at each level, (levels,), where it is not that for
            isotropic data of the variance.
    """

    error: Tensor
    log_snr: Tensor
    guess: Tensor | None = None

    @property
    def reached(self) -> Tensor:
        """Which levels the schedule reaches, (levels,)."""
        return self.log_snr.isfinite()

    @property
    def relative(self) -> Tensor:
        """The error over that of the best linear guess."""
        guess = torch.sigmoid(self.log_snr) if self.guess is None else self.guess
        return self.error / guess[:, None]


@dataclass(frozen=True, eq=False)
class Probe:
    """Data, and the noise that every reading sees alike.

    Attributes:
        prior: the prior.
        x: the data, (rows, *event), in float32 or more.
        condition: its condition.
        noise: (repeats, rows, *event); each is seen with both signs, which takes most of the
            chance out of a comparison with a constant.
        batch_size: how many samples the prior sees at once.
    """

    prior: ScorePrior
    x: Tensor
    condition: Condition
    noise: Tensor
    batch_size: int

    @cached_property
    def log_variance(self) -> float:
        """The logarithm of the data's variance, a mean over the elements of an event."""
        return math.log(self.x.double().var(0).mean().item())

    def levels(self, view: View, maps: Sequence[DataMap], log_snr: Tensor) -> NoiseLevel:
        """Returns the levels of mapped data, (maps, levels), NaN where they are not reached.

        Args:
            view: under whose schedule.
            maps: of the data.
            log_snr: in units of the data's variance, (levels,).
        """
        wanted = as_time(log_snr, "cpu") - self._log_variances(maps)
        low, high = reach(view.schedule)
        inside = (wanted <= high) & (wanted >= low)
        t = torch.full_like(wanted, 0.5)
        t[inside] = view.schedule.t_from_log_snr(wanted[inside]).clamp(0, 1)
        level = view.schedule.at(t)
        values = (level.t, level.alpha, level.sigma, level.log_snr)
        return NoiseLevel(*(torch.where(inside, value, math.nan) for value in values))

    def _log_variances(self, maps: Sequence[DataMap]) -> Tensor:
        """Returns the log-variance of mapped data, (maps, 1)."""
        shifts = [2 * math.log(data.scale) for data in maps]
        return torch.tensor(shifts, dtype=torch.float64)[:, None] + self.log_variance

    def measure(
        self,
        view: View,
        maps: Sequence[DataMap],
        readers: Sequence[tuple[Prediction, float]],
        log_snr: Tensor,
        rows: int,
    ) -> dict[Reading, Errors]:
        """Returns the errors of every reader, a prediction and its sign, of every mapped data.

        Args:
            view: how the prior is shown data.
            maps: of the data.
            readers: predictions and signs.
            log_snr: in units of the data's variance, (levels,).
            rows: how many rows of the data.

        Raises:
            PriorError: where the prior does not return a tensor of its input's shape.
        """
        levels = self.levels(view, maps, log_snr)
        reached = levels.t.isfinite()
        level = NoiseLevel(
            *(v[reached] for v in (levels.t, levels.alpha, levels.sigma, levels.log_snr))
        )
        factors = torch.tensor([[m.scale, m.shift] for m in maps], dtype=torch.float64)
        factors = factors[reached.nonzero()[:, 0]]
        oo, ox, oe, xx, xe, ee = self._products(view, level, factors, rows).cpu()
        one = torch.ones_like(level.t)[:, None]
        found: dict[Reading, Errors] = {}
        for prediction, sign in readers:
            # Every prediction of the noise is a output + b x_t.
            a = sign * prediction.epsilon(one, 0 * one, level, view.schedule)
            b = prediction.epsilon(0 * one, one, level, view.schedule)
            square = a * (a * oo + 2 * (b * ox - oe)) + b * (b * xx - 2 * xe) + ee
            error = torch.full((*reached.shape, rows), math.nan, dtype=torch.float64)
            error[reached] = square.clamp(min=0)
            units = levels.log_snr + self._log_variances(maps)
            for data, of_map, unit in zip(maps, error, units, strict=True):
                found[Reading(prediction, view, data, sign)] = Errors(of_map, unit)
        return found

    def _products(self, view: View, level: NoiseLevel, factors: Tensor, rows: int) -> Tensor:
        """Returns the mean products of output, x_t and noise with each other.

        Args:
            view: how the prior is shown data.
            level: the levels, (n,).
            factors: scale and shift of the data at each, (n, 2).
            rows: how many rows of the data.

        Returns:
            (6, n, rows).
        """
        draws, device = 2 * len(self.noise), self.x.device
        level = NoiseLevel(
            *(as_time(v, device) for v in (level.t, level.alpha, level.sigma, level.log_snr))
        )
        factors = as_time(factors, device)
        products = torch.zeros(6, len(factors), rows, dtype=torch.float64, device=device)
        with self.prior.evaluating():
            # One axis for all: which level, which row, which noise and its sign.
            for part in torch.arange(len(factors) * rows * draws).split(self.batch_size):
                part = part.to(device)
                k, row, draw = part // (rows * draws), part // draws % rows, part % draws
                at = NoiseLevel(level.t[k], level.alpha[k], level.sigma[k], level.log_snr[k])
                scale, shift = (expand(f, self.x) for f in factors[k].T)
                noise = expand(1 - 2 * (draw % 2), self.x) * self.noise[draw // 2, row]
                x_t = diffuse(scale * self.x[row] + shift, noise, at)
                seen = at if view.time is None else replace(at, t=view.time(at.t))
                condition = map_tensors(lambda c, r=row: c[r], self.condition)
                output = self.prior.checked_predict(x_t, seen, condition)
                flat = [v.flatten(1) for v in (output, x_t, noise)]
                pairs = [flat[i] * flat[j] for i in range(3) for j in range(i, 3)]
                means = torch.stack([pair.mean(1, dtype=torch.float64) for pair in pairs])
                where = (torch.arange(6, device=device)[:, None], k, row)
                products.index_put_(where, means, accumulate=True)
        return products / draws

    def measure_one(self, reading: Reading, log_snr: Tensor, rows: int) -> Errors:
        """Returns the errors of one reading."""
        reader = (reading.prediction, reading.sign)
        return self.measure(reading.view, [reading.data], [reader], log_snr, rows)[reading]

    def constant(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the squared error of zero noise and of the data's mean, (levels, rows)."""
        zero = self.noise.double().square().flatten(2).mean((0, 2)).cpu()
        offset = (self.x - self.x.mean(0)).double().square().flatten(1).mean(1).cpu()
        # As an unbiased variance: the mean is this data's own.
        offset = offset * len(self.x) / (len(self.x) - 1)
        snr = torch.exp(log_snr - self.log_variance)[:, None]
        return zero.expand(len(log_snr), -1), snr * offset


def reach(schedule: NoiseSchedule) -> tuple[float, float]:
    """Returns the lowest and the highest log-SNR of a schedule."""
    high, low = schedule.at(as_time([0.0, 1.0], "cpu")).bounded_log_snr.tolist()
    return low, high
