"""The core's weighting, baseline and times, by the names of the policy's settings."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from scoreregs import NoiseSchedule, ScorePrior, ScoreRegularizedObjective
from scoreregs.baselines import Baseline, as_baseline
from scoreregs.betas import Beta, TargetBeta
from scoreregs.options import ValueFunction
from scoreregs.times import AdaptiveTimes, DensityTimes, QuantileTimes, named_times
from scoreregs.weightings import TimeWeighting, WeightingLike, as_weighting
from scoreregs_offline_rl.stages.per_member import (
    AdaptiveTimesOfMembers,
    BaselineOfMembers,
    BetaOfMembers,
)

__all__ = ["PlugIns"]


@dataclass(frozen=True, eq=False)
class PlugIns:
    """What Eq. 15 is made of beside value, prior and temperature.

    Attributes:
        config: the policy's settings.
        times: where t comes from.
        weighting: w, with what makes up for the density of the times.
        baseline: b.
        shared_times: whether all members see the same times, so that these can be drawn for all.
        members: how many policies are stacked.
    """

    config: Any
    times: QuantileTimes
    weighting: WeightingLike
    baseline: Baseline
    shared_times: bool
    members: int = 1

    @classmethod
    def of(cls, config: Any, schedule: NoiseSchedule, members: int | None) -> PlugIns:
        """Returns those of settings, for one policy or for stacked ones.

        Args:
            config: a `PolicyConfig`.
            schedule: the prior's.
            members: how many policies are stacked; None for one by itself.

        Raises:
            ArgumentError: a setting is out of its range for the schedule.
        """
        weighting, baseline = as_weighting(config.weighting), as_baseline(config.baseline)
        of_level = weighting if isinstance(weighting, TimeWeighting) else None
        options = (config.times, config.log_snr, config.points, of_level)
        times = named_times(config.sampler, schedule, *options)
        if members is not None and isinstance(baseline, nn.Module):
            baseline = BaselineOfMembers([copy.deepcopy(baseline) for _ in range(members)])
        if members is not None and isinstance(times, AdaptiveTimes):
            times = AdaptiveTimesOfMembers(
                [copy.deepcopy(times) for _ in range(members)], config.draws
            )
            return cls(config, times, times.weight, baseline, False, members)
        weight = times.weight if isinstance(times, DensityTimes) else weighting
        return cls(config, times, weight, baseline, True, members or 1)

    def objective(
        self, value: ValueFunction, prior: ScorePrior, beta: float | Beta
    ) -> ScoreRegularizedObjective:
        """Returns Eq. 15, with a loss for each sample."""
        config = self.config
        return ScoreRegularizedObjective.from_value(
            value,
            prior,
            beta=beta,
            weighting=self.weighting,
            baseline=self.baseline,
            times=self.times,
            draws=config.draws,
            members=self.members,
            normalize=config.normalize,
            beta_on=config.beta_on,
            through_prior=config.through_prior,
            reduction="none",
        )

    def temperature(self, beta: float | Tensor | None) -> float | Beta | None:
        """Returns the objective's temperature; None where each call is given one for each row.

        Args:
            beta: of one policy, or (members,) of stacked ones.
        """
        ratio = self.config.prior_error_ratio
        if isinstance(beta, Tensor):
            if ratio is None:
                return None
            return BetaOfMembers([TargetBeta(ratio, start) for start in beta.tolist()])
        start = beta or 1.0
        return start if ratio is None else TargetBeta(ratio, start)

    def draw(self, batch_size: int, device: torch.device, generator: Generator) -> Tensor:
        """Returns times (batch, draws), or points in [0, 1) where members have their own times."""
        draw = self.config.draws, batch_size, device, generator
        found = self.times.sample(*draw) if self.shared_times else self.times.points(*draw)
        return found.mT

    def at(self, drawn: Tensor) -> Tensor:
        """Returns the times of what `draw` gave, (draws, members * batch)."""
        return drawn if self.shared_times else self.times.quantile(drawn)
