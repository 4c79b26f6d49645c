"""The prior's side of Eq. 15: what is drawn, and the weighted residuals of the draws."""

from dataclasses import dataclass

import torch
from einops import reduce
from torch import Tensor, nn

from scoreregs import validation
from scoreregs.arguments import check_count, check_flag, check_generator
from scoreregs.baselines import Baseline, BaselineLike, as_baseline
from scoreregs.draws import Draw, fold, repeated
from scoreregs.errors import ArgumentError
from scoreregs.kernel import residual_of, residual_through_prior
from scoreregs.noisers import Noised, NoiserLike, as_noiser
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.schedules import as_time
from scoreregs.times import TimesLike, as_times, check_times
from scoreregs.trees import Condition
from scoreregs.weightings import WeightingLike, as_weighting

__all__ = ["Estimate", "PriorEstimator"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """What the prior says of samples x.

    Attributes:
        times: t, (draws, batch).
        flat: the weighted residuals, one draw after the other, (draws * batch, *event).
        error: the mean over draws of the squared denoising error at x, (batch,), where asked for.
        data_error: that at the data with the same times and noise, (batch,), where data was given.
    """

    times: Tensor
    flat: Tensor
    error: Tensor | None = None
    data_error: Tensor | None = None

    @property
    def residuals(self) -> Tensor:
        """The weighted residuals, (draws, batch, *event)."""
        return self.flat.reshape(*self.times.shape, *self.flat.shape[1:])

    @property
    def residual(self) -> Tensor:
        """The mean over draws, (batch, *event)."""
        # The mean of one draw would be a copy of it.
        draws = self.times.shape[0]
        return self.flat if draws == 1 else reduce(self.flat, "(k b) ... -> b ...", "mean", k=draws)


class PriorEstimator(nn.Module):
    """Estimates the expectation of Eq. 15; `ScoreRegularizedObjective` documents its options."""

    def __init__(
        self,
        prior: ScorePrior,
        *,
        weighting: WeightingLike,
        baseline: BaselineLike,
        times: TimesLike,
        noiser: NoiserLike,
        draws: int,
        through_prior: bool,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        check_prior_type(prior)
        check_generator(generator)
        check_count("draws", draws)
        check_flag("through_prior", through_prior)
        # In a tuple, so that a prior which is itself a module is not registered as a submodule.
        self._unowned = (prior,)
        self.weighting = as_weighting(weighting)
        self.baseline = as_baseline(baseline).under(prior.schedule)
        self.times = as_times(times)
        self.noiser = as_noiser(noiser)
        self.draws = draws
        self.through_prior = through_prior
        if through_prior and type(self.baseline).through_prior is Baseline.through_prior:
            raise ArgumentError(
                f"got through_prior=True with {type(self.baseline).__name__}, expected "
                'baseline="noise" or a ScoreIdentityBaseline: others belong to no loss'
            )
        self.generator = generator
        validation.check_singular(prior, self.weighting, as_time([self.times.low, self.times.high]))

    @property
    def prior(self) -> ScorePrior:
        """The diffusion prior."""
        return self._unowned[0]

    def _estimate(
        self,
        x: Tensor,
        condition: Condition,
        t: float | Tensor | None,
        noise: Tensor | None,
        *,
        data: Tensor | None,
        needs_error: bool,
        check_values: bool,
    ) -> Estimate:
        x = x.detach()
        with self.prior.evaluating():
            times, noised = self._noise(x, condition, t, noise)
            if check_values:
                validation.check_finite("noise", noised.noise)
            if check_values or (t is not None and self._beyond_range(times)):
                check_times(times)
                validation.check_singular(self.prior, self.weighting, times.flatten())
            if self.through_prior:
                with torch.enable_grad():
                    draw = self._draw(x.requires_grad_(), condition, times, noised)
            else:
                draw = self._draw(x, condition, times, noised)
            if check_values:
                validation.check_weight(self.weighting, draw)
            if self.through_prior:
                residuals = residual_through_prior(draw, self.weighting, self.baseline)
            else:
                residuals = residual_of(draw, self.weighting, self.baseline)
            if self.training:
                self.baseline.observe(draw)
                self.times.observe(draw.level.t, residuals)
            error = _error(draw) if needs_error else None
            data_error = None
            if data is not None:
                data_error = _error(self._draw(data.detach(), condition, times, noised))
        return Estimate(times, residuals, error, data_error)

    def _draw(self, x: Tensor, condition: Condition, times: Tensor, noised: Noised) -> Draw:
        draws = times.shape[0]
        return Draw.of(
            self.prior,
            repeated(x, draws),
            fold(condition, x.shape[0], draws),
            times.flatten(),
            _flat(noised.noise),
            target=None if noised.target is None else _flat(noised.target),
            draws=draws,
        )

    def _noise(
        self, x: Tensor, condition: Condition, t: float | Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Noised]:
        """Returns times, (draws, batch), and noise, (draws, batch, *event), given or drawn."""
        given = validation.given_draws(x, t, noise)
        draws = self.draws if given is None else given
        batch = x.shape[0]
        if t is not None:
            times = as_time(t, x.device).detach().expand(draws, batch)
        elif noise is not None:
            times = self.times.sample(draws, batch, x.device, self.generator)
        else:
            times = self.noiser.times(self.times, draws, batch, x.device, self.generator)
        if noise is not None:
            return times, Noised(noise.detach().expand(draws, *x.shape))
        return times, self.noiser.sample(self.prior, x, condition, times, self.generator)

    def _beyond_range(self, times: Tensor) -> bool:
        """Whether given times leave the checked range, as far as that costs no wait."""
        if times.device.type != "cpu" or torch.compiler.is_compiling():
            return False
        low, high = times.aminmax()
        return not (self.times.low <= low.item() and high.item() <= self.times.high)


def _flat(noise: Tensor) -> Tensor:
    """One draw after the other, (draws * batch, *event)."""
    return noise.flatten(0, 1)


def _error(draw: Draw) -> Tensor:
    """The squared denoising error of each sample, (batch,), in the mean over its draws."""
    return reduce(draw.squared_error(), "(k b) -> b", "mean", k=draw.draws)
