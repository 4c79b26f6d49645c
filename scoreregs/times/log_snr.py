r"""Distributions of the log-SNR, which mean the same for every schedule."""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import check_numbers, check_range, named_calls
from scoreregs.errors import ArgumentError
from scoreregs.schedules import NoiseSchedule, as_time
from scoreregs.schedules.base import check_schedule
from scoreregs.times.base import QuantileTimes
from scoreregs.times.points import PointsLike

__all__ = ["LogLogisticTimes", "LogNormalTimes", "LogSNRTimes", "LogSigmaTimes"]


@named_calls
class LogSNRTimes(QuantileTimes):
    r"""Times at which the log-SNR is uniform between two bounds.

    Args:
        schedule: the prior's schedule, `prior.schedule`.
        low: lowest log-SNR, that of the noisiest time.
        high: highest log-SNR.
        points: as for `UniformTimes`.

    Raises:
        ArgumentError: unless low < high and the schedule has both.

    Example:
        >>> from scoreregs import VPSchedule
        >>> schedule = VPSchedule()
        >>> times = LogSNRTimes(schedule, -4, 4)
        >>> schedule.log_snr(times.quantile(torch.tensor([0.0, 0.75]).double())).round(decimals=6)
        tensor([ 4., -2.], dtype=torch.float64)
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        low: float = -4.0,
        high: float = 4.0,
        points: PointsLike = "independent",
    ) -> None:
        super().__init__(points)
        check_schedule(schedule)
        check_numbers(low=low, high=high)
        if not -math.inf < low < high < math.inf:
            raise ArgumentError(
                f"got the log-SNR range ({low}, {high}), expected finite low < high"
            )
        self._schedule = schedule
        self._low, self._high = float(low), float(high)
        ends = as_time([high, low], "cpu")
        schedule.check_reached(ends)
        self.low, self.high = schedule.t_from_log_snr(ends).tolist()

    @override
    def quantile(self, u: Tensor) -> Tensor:
        log_snr = self._high - (self._high - self._low) * u
        return self._schedule.t_from_log_snr(log_snr).clamp(self.low, self.high)


class LogSigmaTimes(QuantileTimes):
    r"""A distribution of $\ln(\sigma / \alpha)$, cut to a range of times.

    Abstract in the distribution function of its standard form and the inverse of that.

    Args:
        schedule: the prior's schedule.
        location: the location's name, for messages, and the location.
        scale: likewise, > 0.
        low: time at which the distribution is cut below.
        high: time at which it is cut above.
        points: as for `UniformTimes`.

    Raises:
        ArgumentError: for arguments outside their range, or a time range without mass.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        location: tuple[str, float],
        scale: tuple[str, float],
        low: float,
        high: float,
        points: PointsLike,
    ) -> None:
        super().__init__(points)
        check_schedule(schedule)
        check_numbers(**dict((location, scale)))
        check_range(low, high)
        said = f"got {location[0]}={location[1]}, {scale[0]}={scale[1]}"
        if not (math.isfinite(location[1]) and 0 < scale[1] < math.inf):
            raise ArgumentError(f"{said}, expected finite ones and {scale[0]} > 0")
        self.low, self.high = float(low), float(high)
        self._schedule, self._location, self._scale = schedule, float(location[1]), float(scale[1])
        log_snr = schedule.log_snr(as_time([low, high], "cpu"))
        self._cleanest, self._noisiest = log_snr.tolist()
        shares = self._share_below((-log_snr / 2 - self._location) / self._scale)
        self._below, self._above = shares.tolist()
        if not self._below < self._above:
            raise ArgumentError(
                f"{said}, of which nothing lies between the times {low} and "
                f"{high}, expected some: log(sigma / alpha) is there from "
                f"{-self._cleanest / 2:.3g} to {-self._noisiest / 2:.3g}"
            )

    @abstractmethod
    def _share_below(self, standard: Tensor) -> Tensor:
        """The distribution function of location 0 and scale 1."""

    @abstractmethod
    def _standard(self, share: Tensor) -> Tensor:
        """Its inverse."""

    @override
    def quantile(self, u: Tensor) -> Tensor:
        share = self._below + (self._above - self._below) * u
        log_snr = -2 * (self._location + self._scale * self._standard(share))
        log_snr = log_snr.clamp(self._noisiest, self._cleanest)
        return self._schedule.t_from_log_snr(log_snr).clamp(self.low, self.high)


@named_calls
class LogNormalTimes(LogSigmaTimes):
    r"""Times at which $\sigma / \alpha$ is log-normal, as EDM is trained.

    $$ \ln(\sigma / \alpha) \sim \mathcal N(\mathrm{mean}, \mathrm{std}^2),
       \qquad \mathrm{low} \le t \le \mathrm{high} $$

    Args:
        schedule: the prior's schedule, `prior.schedule`.
        mean: mean of the logarithm.
        std: standard deviation of the logarithm, > 0.
        low: time at which the distribution is cut below.
        high: time at which it is cut above.
        points: as for `UniformTimes`.

    Raises:
        ArgumentError: for arguments outside their range, or a time range without mass.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, NeurIPS
        2022, Table 1.

    Example:
        >>> from scoreregs import EDMSchedule
        >>> schedule = EDMSchedule()
        >>> t = LogNormalTimes(schedule).quantile(torch.tensor([0.5]).double())
        >>> schedule(t)[1].log().round(decimals=3)
        tensor([-1.2000], dtype=torch.float64)
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        mean: float = -1.2,
        std: float = 1.2,
        low: float = 0.0,
        high: float = 1.0,
        points: PointsLike = "independent",
    ) -> None:
        super().__init__(schedule, ("mean", mean), ("std", std), low, high, points)
        self.mean, self.std = float(mean), float(std)

    @override
    def _share_below(self, standard: Tensor) -> Tensor:
        return torch.special.ndtr(standard)

    @override
    def _standard(self, share: Tensor) -> Tensor:
        return torch.special.ndtri(share)


@named_calls
class LogLogisticTimes(LogSigmaTimes):
    r"""Times at which $\sigma / \alpha$ is log-logistic, as DTQL trains EDM denoisers.

    $$ \ln(\sigma / \alpha) \sim \mathrm{Logistic}(\mathrm{location}, \mathrm{scale}),
       \qquad \mathrm{low} \le t \le \mathrm{high} $$

    Args:
        schedule: the prior's schedule, `prior.schedule`.
        location: median of the logarithm, ln(0.5) by default.
        scale: its scale, > 0; the standard deviation is 1.8 times that.
        low: time at which the distribution is cut below.
        high: time at which it is cut above.
        points: as for `UniformTimes`.

    Raises:
        ArgumentError: for arguments outside their range, or a time range without mass.

    References:
        Chen et al., Diffusion Policies Creating a Trust Region for Offline Reinforcement Learning,
        NeurIPS 2024; Reuss et al., Goal-Conditioned Imitation Learning using Score-based Diffusion
        Policies, RSS 2023.

    Example:
        >>> from scoreregs import EDMSchedule
        >>> schedule = EDMSchedule()
        >>> t = LogLogisticTimes(schedule).quantile(torch.tensor([0.5]).double())
        >>> schedule(t)[1].round(decimals=2)
        tensor([0.5000], dtype=torch.float64)
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        location: float = math.log(0.5),
        scale: float = 0.5,
        low: float = 0.0,
        high: float = 1.0,
        points: PointsLike = "independent",
    ) -> None:
        super().__init__(schedule, ("location", location), ("scale", scale), low, high, points)

    @override
    def _share_below(self, standard: Tensor) -> Tensor:
        return torch.sigmoid(standard)

    @override
    def _standard(self, share: Tensor) -> Tensor:
        return torch.logit(share)
