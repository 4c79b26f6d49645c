r"""The objective: a value kept plausible by a diffusion prior (Eq. 15 of SRPO)."""

from abc import ABC, abstractmethod

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn
from typing_extensions import Unpack, override

from scoreregs import validation
from scoreregs.arguments import accepts, check_generator, check_keywords
from scoreregs.baselines import BaselineLike, as_baseline
from scoreregs.draws import Draw, fold
from scoreregs.errors import ArgumentError
from scoreregs.finiteness import Finiteness
from scoreregs.kernel import BetaPlacement, Normalization, regularized_gradient, residual_of
from scoreregs.noisers import Noised, NoiserLike, as_noiser
from scoreregs.options import Checking, Nothing, ObjectiveOptions, Reduction, ValueFunction
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.reprs import construction, short
from scoreregs.results import Diagnostics, ObjectiveResult
from scoreregs.schedules import as_time
from scoreregs.times import TimesLike, as_times, check_times
from scoreregs.trees import Condition
from scoreregs.value_gradient import value_and_gradient
from scoreregs.weightings import WeightingLike, as_weighting

__all__ = ["ScoreRegularizedObjective"]


class ScoreRegularizedObjective(nn.Module, ABC):
    r"""A value to maximise while a diffusion prior keeps x plausible, abstract in `value`.

    $$ \nabla_\theta = \Big[ \nabla_x \mathrm{value}(x, c) - \tfrac1\beta\,
       \mathbb E_{t, \epsilon}\, w(t) \big( \hat\epsilon(x_t \mid c, t) - b \big) \Big]
       \frac{\partial x}{\partial \theta}, \qquad x_t = \alpha(t) x + \sigma(t) \epsilon $$

    Called with x it returns a loss to minimise: after `result.loss.backward()`, x.grad is minus the
    bracket, averaged over the batch and summed over the event. The prior is never sampled from nor
    differentiated through, the value is differentiated at a detached x, and neither's parameters
    are the objective's or get a gradient; a critic that a subclass keeps as an attribute is
    registered, as in any `torch.nn.Module`: give it to `from_value` instead. What the plug-ins
    remember, as the step of descending times, is in `state_dict()`; in eval mode it stands still.

    The defaults are the paper's. `AdaptiveTimes` of low-discrepancy points with their weight, and
    `baseline="optimal_noise"`, have the same expectation and a fraction of the variance.

    Args:
        prior: the diffusion prior.
        beta: the temperature, > 0; infinite leaves the value alone and skips the prior. Set it
            between calls for a schedule: `objective.beta = schedule(step)`.
        normalize: None; or "l2" or "rms", which divide beta by that norm of the value's gradient
            for each sample (Appendix C, AntMaze: the paper's is "l2", its code's is "rms").
        beta_on: "prior" multiplies the residual with 1/beta as in Eq. 15; "value" multiplies the
            value with beta, as the paper's published code does.
        weighting: w: "sigma2", "uniform", "alpha_over_sigma", "sigma_over_alpha", "snr",
            "min_snr", "dmd", a function of the `NoiseLevel`, or a `Weighting`.
        baseline: b: "noise" subtracts epsilon, "none" nothing, "optimal_noise" c(t) epsilon; or a
            `Baseline`.
        times: a range (low, high) of uniform times, a fixed time, or a `TimeSampler`.
        noiser: epsilon: "independent", "antithetic", or a `Noiser`.
        draws: how many (t, noise) are averaged for each sample.
        reduction: of the loss over the batch: "mean", "sum" or "none".
        generator: the source of t and noise, on x's device; the global one by default.
        check: when NaN and infinity are errors: at the "first" call and with diagnostics, where
            rows that had some in between were not moved; or "always", which waits for the device.

    Raises:
        ArgumentError: for an option outside its range.
        SingularTimeError: where the weighted residual is infinite at an end of the time range.

    References:
        Chen et al., Score Regularized Policy Optimization through Diffusion Behavior, ICLR 2024,
        Eq. 15 and Appendix C.

    Example:
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> class Reach(ScoreRegularizedObjective):
        ...     def value(self, x, condition):
        ...         return -(x - condition).square().sum(-1)
        >>> x = torch.zeros(2, 1, requires_grad=True)
        >>> Reach(prior, beta=float("inf"))(x, torch.ones(2, 1)).loss.backward()
        >>> x.grad
        tensor([[-1.],
                [-1.]])
    """

    def __init__(
        self,
        prior: ScorePrior,
        *,
        beta: float = 1.0,
        normalize: Normalization | None = None,
        beta_on: BetaPlacement = "prior",
        weighting: WeightingLike = "sigma2",
        baseline: BaselineLike = "noise",
        times: TimesLike = (0.02, 0.98),
        noiser: NoiserLike = "independent",
        draws: int = 1,
        reduction: Reduction = "mean",
        generator: torch.Generator | None = None,
        check: Checking = "first",
        **unknown: Unpack[Nothing],
    ) -> None:
        super().__init__()
        check_keywords(unknown, ObjectiveOptions.__annotations__)
        check_prior_type(prior)
        check_generator(generator)
        validation.check_choice("check", check, ("first", "always"))
        validation.check_choice("normalize", normalize, (None, "l2", "rms"))
        validation.check_choice("beta_on", beta_on, ("prior", "value"))
        validation.check_choice("reduction", reduction, ("mean", "sum", "none"))
        if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
            raise ArgumentError(f"got draws={draws!r}, expected an integer of at least 1")
        # In a tuple, so that a prior which is itself a module is not registered as a submodule.
        self._unowned = (prior,)
        self.normalize: Normalization | None = normalize
        self.beta_on: BetaPlacement = beta_on
        self.weighting = as_weighting(weighting)
        self.baseline = as_baseline(baseline).under(prior.schedule)
        self.times = as_times(times)
        self.noiser = as_noiser(noiser)
        self.draws = draws
        self.reduction: Reduction = reduction
        self.generator = generator
        self.beta = beta
        self.check: Checking = check
        self._finiteness = Finiteness()
        # The calls of which kind, with the prior or without it, have had their values checked.
        self._values_checked: set[bool] = set()
        validation.check_singular(prior, self.weighting, as_time([self.times.low, self.times.high]))

    @classmethod
    def from_value(
        cls, value: ValueFunction | None, prior: ScorePrior, **options: Unpack[ObjectiveOptions]
    ) -> "ScoreRegularizedObjective":
        """Returns an objective for a value given as a function of (x, condition), or for none.

        Args:
            value: returns one value for each sample, (batch,); None leaves the prior alone, which
                is pure score distillation.
            prior: the diffusion prior.
            **options: as for the class.

        Example:
            >>> from scoreregs import GaussianMixturePrior, VPSchedule
            >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
            >>> def value(x, condition):
            ...     return x.sum(-1)
            >>> objective = ScoreRegularizedObjective.from_value(value, prior, beta=0.5)
            >>> x = torch.zeros(4, 1, requires_grad=True)
            >>> objective(x).loss.backward()
        """
        check_keywords(options, ObjectiveOptions.__annotations__)
        if value is None:
            return _PriorObjective(prior, **options)
        return _FunctionObjective(value, prior, **options)

    @override
    def __repr__(self) -> str:
        return construction(self, of=ScoreRegularizedObjective, defaults=False)

    @property
    def prior(self) -> ScorePrior:
        """The diffusion prior."""
        return self._unowned[0]

    @property
    def beta(self) -> float:
        """The temperature, > 0 and possibly infinite."""
        return self._beta

    @beta.setter
    def beta(self, beta: float) -> None:
        validation.check_beta(beta, self.beta_on)
        self._beta = float(beta)

    @abstractmethod
    def value(self, x: Tensor, condition: Condition) -> Tensor:
        """Returns one value for each sample, (batch,), differentiable in x."""

    @override
    def forward(
        self,
        x: Tensor,
        condition: Condition = None,
        *,
        t: float | Tensor | None = None,
        noise: Tensor | None = None,
        beta: Tensor | None = None,
        diagnostics: bool = False,
        **unknown: Unpack[Nothing],
    ) -> ObjectiveResult:
        """Returns the loss whose gradient with respect to x is minus that of Eq. 15.

        Shapes, dtypes and devices are checked always; NaN and infinities at the first call, with
        diagnostics and with `check="always"`, where the device is waited for.

        Args:
            x: what is optimised, (batch, *event), floating point.
            condition: passed to value and prior: None, a tensor, or nested dicts, lists and tuples
                of tensors, batch first.
            t: times in place of drawn ones: one, (batch,) or (draws, batch), in [0, 1].
            noise: noise in place of drawn one: (batch, *event) or (draws, batch, *event).
            beta: a temperature > 0 for each sample, (batch,), in place of the one of all.
            diagnostics: whether to compute `Diagnostics`.

        Raises:
            ArgumentError: for inputs of a wrong shape, dtype, device or range, or not finite.
            PriorError: where the prior does not return a finite prediction of x's shape.
            ValueFunctionError: where the value is not (batch,), not finite or independent of x.
            SingularTimeError: where the weighted residual is infinite at a given time.
        """
        if unknown:
            check_keywords(unknown, ("x", "condition", "t", "noise", "beta", "diagnostics"))
        skips_prior = beta is None and self.beta == float("inf")
        check_values = self._checks_values(diagnostics, skips_prior)
        validation.check_inputs(x, condition, self.generator, check_values)
        if check_values:
            self._finiteness.check()
        if beta is not None:
            validation.check_betas(beta, x, self.beta_on, check_values)
        dtype = torch.promote_types(x.dtype, torch.float32)
        value, value_gradient = self._value_and_gradient(x, condition)
        residuals = times = None
        if not skips_prior:
            times, residuals = self._residuals(x, condition, t, noise, check_values)
        residual = None
        if residuals is not None:
            # The mean of one draw would be a copy of it.
            one = len(residuals) == 1
            residual = residuals[0] if one else reduce(residuals, "k b ... -> b ...", "mean")
        exact = regularized_gradient(
            None if value_gradient is None else value_gradient.to(dtype),
            residual,
            self.beta if beta is None else beta.to(dtype),
            self.normalize,
            self.beta_on,
        )
        gradient = exact.to(x.dtype)
        if check_values:
            validation.check_gradients(value, value_gradient, residuals, times)
            validation.check_overflow(gradient, self.beta if beta is None else beta)
            self._values_checked.add(skips_prior)
        else:
            gradient = self._finiteness.guard(gradient, value_gradient, times)
        return ObjectiveResult(
            loss=self._reduce((x.to(dtype) * gradient.to(dtype)).flatten(1).sum(1)),
            gradient=gradient,
            value=value,
            diagnostics=Diagnostics.of(value_gradient, times, residuals) if diagnostics else None,
        )

    def _checks_values(self, diagnostics: bool, skips_prior: bool) -> bool:
        """Whether this call looks at values; then what earlier ones had is an error too."""
        return diagnostics or self.check == "always" or skips_prior not in self._values_checked

    def _value_and_gradient(
        self, x: Tensor, condition: Condition
    ) -> tuple[Tensor | None, Tensor | None]:
        return value_and_gradient(self.value, x, condition)

    def _residuals(
        self,
        x: Tensor,
        condition: Condition,
        t: float | Tensor | None,
        noise: Tensor | None,
        check_values: bool,
    ) -> tuple[Tensor, Tensor]:
        """Returns times, (draws, batch), and weighted residuals, (draws, batch, *event)."""
        x = x.detach()
        with self.prior.evaluating():
            times, noised = self._noise(x, condition, t, noise)
            draws = len(times)
            if check_values:
                validation.check_finite("noise", noised.noise)
            if check_values or (t is not None and self._beyond_range(times)):
                check_times(times)
                validation.check_singular(self.prior, self.weighting, times.flatten())
            draw = Draw.of(
                self.prior,
                repeat(x, "b ... -> (k b) ...", k=draws),
                fold(condition, len(x), draws),
                rearrange(times, "k b -> (k b)"),
                _flat(noised.noise),
                target=None if noised.target is None else _flat(noised.target),
                draws=draws,
            )
            if check_values:
                validation.check_weight(self.weighting, draw)
            residuals = residual_of(draw, self.weighting, self.baseline)
            if self.training:
                self.baseline.observe(draw)
                self.times.observe(draw.level.t, residuals)
        return times, rearrange(residuals, "(k b) ... -> k b ...", k=draws)

    def _noise(
        self, x: Tensor, condition: Condition, t: float | Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Noised]:
        """Returns times, (draws, batch), and noise, (draws, batch, *event), given or drawn."""
        given = validation.given_draws(x, t, noise)
        draws = self.draws if given is None else given
        if t is not None:
            times = as_time(t, x.device).detach().expand(draws, len(x))
        elif noise is not None:
            times = self.times.sample(draws, len(x), x.device, self.generator)
        else:
            times = self.noiser.times(self.times, draws, len(x), x.device, self.generator)
        if noise is not None:
            return times, Noised(noise.detach().expand(draws, *x.shape))
        return times, self.noiser.sample(self.prior, x, condition, times, self.generator)

    def _beyond_range(self, times: Tensor) -> bool:
        """Whether given times leave the checked range, as far as that costs no wait."""
        if times.device.type != "cpu":
            return False
        low, high = times.aminmax()
        return not (self.times.low <= low.item() and high.item() <= self.times.high)

    def _reduce(self, losses: Tensor) -> Tensor:
        if self.reduction == "none":
            return losses
        return losses.mean() if self.reduction == "mean" else losses.sum()


class _FunctionObjective(ScoreRegularizedObjective):
    """The objective of a value given as a function."""

    def __init__(
        self, value: ValueFunction, prior: ScorePrior, **options: Unpack[ObjectiveOptions]
    ) -> None:
        if not callable(value):
            raise ArgumentError(
                f"got a value of type {type(value).__name__}, expected a function of "
                "(x, condition), or None"
            )
        self._takes_condition = accepts(value, 2) is not False
        if not self._takes_condition and accepts(value, 1) is False:
            raise ArgumentError(
                "got a value that takes neither (x, condition) nor (x), expected one of them: "
                "wrap it, for instance as `lambda x, condition: value(condition, x)`"
            )
        super().__init__(prior, **options)
        # In a tuple, so that a critic which is a module is not registered as a submodule.
        self._function = (value,)

    @override
    def __repr__(self) -> str:
        return _from_value(self, short(self._function[0]))

    @override
    def value(self, x: Tensor, condition: Condition) -> Tensor:
        return self._function[0](x, condition) if self._takes_condition else self._function[0](x)


class _PriorObjective(ScoreRegularizedObjective):
    """The objective of a prior alone: pure score distillation."""

    def __init__(self, prior: ScorePrior, **options: Unpack[ObjectiveOptions]) -> None:
        super().__init__(prior, **options)
        if self.normalize is not None or self.beta == float("inf"):
            raise ArgumentError(
                f"got value=None with beta={self.beta} and normalize={self.normalize!r}, expected "
                "a finite beta without normalisation: without a value nothing else moves x"
            )

    @override
    def __repr__(self) -> str:
        return _from_value(self, "None")

    @override
    def value(self, x: Tensor, condition: Condition) -> Tensor:
        raise ArgumentError("got value=None, expected a function: this objective has none")

    @override
    def _value_and_gradient(self, x: Tensor, condition: Condition) -> tuple[None, None]:
        return None, None


def _from_value(objective: ScoreRegularizedObjective, value: str) -> str:
    told = construction(objective, of=ScoreRegularizedObjective, defaults=False)
    return f"ScoreRegularizedObjective.from_value({value}, {told.split('(', 1)[1]}"


def _flat(noise: Tensor) -> Tensor:
    return rearrange(noise, "k b ... -> (k b) ...")
