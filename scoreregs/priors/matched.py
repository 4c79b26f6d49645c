"""One prior under another schedule, at matched log-SNR."""

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs.predictions import Epsilon, Flow, Prediction, Sample, Velocity, expand
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.priors.edm import Preconditioned
from scoreregs.schedules import NoiseLevel, NoiseSchedule, TabulatedSchedule, as_time
from scoreregs.trees import Condition

__all__ = ["MatchedPrior", "as_matched", "same_schedule"]

# Predictions that mean the same under a scaled x_t.
_SCALE_FREE = (Epsilon, Sample, Velocity, Preconditioned)


@named_calls
class MatchedPrior(ScorePrior):
    r"""A prior seen through another schedule: the same data, time and scale of x_t translated.

    $$ x'_{t'} = \sqrt{\frac{\alpha'^2 + \sigma'^2}{\alpha^2 + \sigma^2}}\; x_t, \qquad
       \frac{\alpha'(t')}{\sigma'(t')} = \frac{\alpha(t)}{\sigma(t)} $$

    Noise, data, v and EDM predictions pass unchanged, a score as noise, a velocity as v. Each call
    checks that the prior's schedule has the ratio, for which it waits for the device.

    Args:
        prior: the prior, whose schedule is continuous or a table with `interpolation="log_snr"`.
        schedule: the schedule to see it through.

    Raises:
        ArgumentError: for a prior on a table that snaps; when called, for a log-SNR that the
            prior's schedule never has.

    Example:
        >>> from scoreregs import EDMSchedule, GaussianMixturePrior, VPSchedule
        >>> edm = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], EDMSchedule())
        >>> vp = MatchedPrior(edm, VPSchedule())
        >>> vp.score(torch.ones(1, 1), 0.5)  # standard normal on VP at every time
        tensor([[-1.]])
    """

    def __init__(self, prior: ScorePrior, schedule: NoiseSchedule) -> None:
        check_prior_type(prior)
        inner = prior.schedule
        if isinstance(inner, TabulatedSchedule) and inner.interpolation == "nearest":
            raise ArgumentError(
                'got a prior on a table with interpolation="nearest", expected one that has every '
                'log-SNR: use interpolation="log_snr", or see the other prior through the table'
            )
        super().__init__(schedule, _passed_on(prior.prediction))
        self._prior = prior

    @override
    def predict(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        prior, outer = self._prior, self.schedule.at(t)
        prior.schedule.check_reached(outer.log_snr)
        matched = prior.schedule.t_from_log_snr(outer.log_snr).clamp(0, 1)
        level = prior.schedule.at(matched)
        scale = torch.hypot(level.alpha, level.sigma) / torch.hypot(outer.alpha, outer.sigma)
        x_t = expand(scale, x_t) * x_t
        output = prior.checked_predict(x_t, level, condition)
        if isinstance(prior.prediction, _SCALE_FREE):
            return output
        if isinstance(prior.prediction, Flow):
            return _velocity(prior, output, x_t, level)
        return prior.prediction.epsilon(output, x_t, level, prior.schedule)


def as_matched(prior: ScorePrior, schedule: NoiseSchedule) -> ScorePrior:
    """Returns a prior under a schedule: itself where that is its own, else matched to it."""
    return prior if same_schedule(prior.schedule, schedule) else MatchedPrior(prior, schedule)


def same_schedule(first: NoiseSchedule, second: NoiseSchedule) -> bool:
    """Whether two schedules are one, or of one type with the same scales at 4097 times.

    Example:
        >>> from scoreregs import VPSchedule
        >>> same_schedule(VPSchedule(), VPSchedule()), same_schedule(VPSchedule(), VPSchedule(0.2))
        (True, False)
    """
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    t = as_time(torch.linspace(0, 1, 4097, dtype=torch.float64))
    one, other = first.at(t), second.at(t)
    return all(
        torch.equal(a, b)
        for a, b in ((one.t, other.t), (one.alpha, other.alpha), (one.sigma, other.sigma))
    )


def _passed_on(prediction: Prediction) -> Prediction:
    if isinstance(prediction, _SCALE_FREE):
        return prediction
    return Velocity() if isinstance(prediction, Flow) else Epsilon()


def _velocity(prior: ScorePrior, output: Tensor, x_t: Tensor, level: NoiseLevel) -> Tensor:
    epsilon = prior.prediction.epsilon(output, x_t, level, prior.schedule)
    sample = prior.prediction.sample(output, x_t, level, prior.schedule)
    norm = torch.hypot(level.alpha, level.sigma)
    return expand(level.alpha / norm, x_t) * epsilon - expand(level.sigma / norm, x_t) * sample
