r"""The objective: a value kept plausible by a diffusion prior (Eq. 15 of SRPO)."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from einops import repeat
from torch import Tensor
from typing_extensions import Unpack, override

from scoreregs import validation
from scoreregs.arguments import (
    check_choice,
    check_count,
    check_flag,
    check_keywords,
    check_method,
    named_calls,
)
from scoreregs.baselines import BaselineLike
from scoreregs.betas import Beta
from scoreregs.draws import at_least_single
from scoreregs.errors import ArgumentError
from scoreregs.estimator import Estimate, PriorEstimator
from scoreregs.finiteness import Finiteness
from scoreregs.kernel import BetaPlacement, Normalization, bracket_of
from scoreregs.noisers import NoiserLike
from scoreregs.options import Checking, Nothing, ObjectiveOptions, Reduction, ValueFunction
from scoreregs.predictions import cast
from scoreregs.prior import ScorePrior
from scoreregs.reprs import construction, short
from scoreregs.results import Diagnostics, ObjectiveResult
from scoreregs.times import TimesLike
from scoreregs.trees import Condition
from scoreregs.value_gradient import as_value, value_and_gradient
from scoreregs.weightings import WeightingLike

__all__ = ["ScoreRegularizedObjective"]


@named_calls
class ScoreRegularizedObjective(PriorEstimator, ABC):
    r"""A value to maximise while a diffusion prior keeps x plausible, abstract in `value`.

    $$ \nabla_\theta = \Big[ \nabla_x \mathrm{value}(x, c) - \tfrac1\beta\,
       \mathbb E_{t, \epsilon}\, w(t) \big( \hat\epsilon(x_t \mid c, t) - b \big) \Big]
       \frac{\partial x}{\partial \theta}, \qquad x_t = \alpha(t) x + \sigma(t) \epsilon $$

    Called with x it returns a loss to minimise: after `result.loss.backward()`, x.grad is minus the
    bracket, averaged over the batch and summed over the event. The prior is never sampled from, nor
    differentiated through unless you ask for it, the value is differentiated at a detached x, and
    neither's parameters are the objective's or get a gradient; a critic that a subclass keeps as an
    attribute is registered, as in any `torch.nn.Module`: give it to `from_value` instead. What the
    plug-ins remember, as the step of descending times, is in `state_dict()`; in eval mode it stands
    still.

    The defaults are the paper's. `AdaptiveTimes` of low-discrepancy points with their weight, and
    `baseline="optimal_noise"`, have the same expectation and a fraction of the variance.

    Args:
        prior: the diffusion prior.
        beta: the temperature, > 0; infinite leaves the value alone and skips the prior; or a
            `Beta` that changes it from call to call: `AnnealedBeta`, or `TargetBeta`, a budget in
            its place. It may be set between calls.
        normalize: None; "l2" or "rms", which divide beta by that norm of the value's gradient for
            each sample (Appendix C, AntMaze: the paper's is "l2", its code's is "rms"); or "batch",
            by the mean of the L2 norms over the batch; or "clipped", by a row's own L2 norm, but at
            least the batch's median.
        beta_on: "prior" multiplies the residual with 1/beta as in Eq. 15; "value" multiplies the
            value with beta, as the paper's published code does.
        weighting: w: "sigma2", "uniform", "alpha_over_sigma", "sigma_over_alpha", "snr",
            "min_snr", "dmd", a function of the `NoiseLevel`, or a `Weighting`.
        baseline: b: "noise" subtracts epsilon, "none" nothing, "optimal_noise" c(t) epsilon; or a
            `Baseline`.
        times: a range (low, high) of uniform times, a fixed time, or a `TimeSampler`.
        noiser: epsilon: "independent", "antithetic", or a `Noiser`.
        draws: how many (t, noise) are averaged for each sample.
        members: how many batches a call consists of, one after the other, as of a stacked sweep;
            each has its own mean for "batch", and its own temperature where beta holds several.
        through_prior: whether the residual keeps the Jacobian of the prior, as the trust region of
            DTQL does (`residual_through_prior`): exact for its denoising loss, at the memory and
            time of a backward pass through the network.
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
        beta: float | Beta = 1.0,
        normalize: Normalization | None = None,
        beta_on: BetaPlacement = "prior",
        weighting: WeightingLike = "sigma2",
        baseline: BaselineLike = "noise",
        times: TimesLike = (0.02, 0.98),
        noiser: NoiserLike = "independent",
        draws: int = 1,
        members: int = 1,
        through_prior: bool = False,
        reduction: Reduction = "mean",
        generator: torch.Generator | None = None,
        check: Checking = "first",
        **unknown: Unpack[Nothing],
    ) -> None:
        super().__init__(
            prior,
            weighting=weighting,
            baseline=baseline,
            times=times,
            noiser=noiser,
            draws=draws,
            through_prior=through_prior,
            generator=generator,
        )
        check_method(self, "value", ("x", "condition"))
        check_choice("check", check, ("first", "always"))
        check_choice("normalize", normalize, (None, "l2", "rms", "batch", "clipped"))
        check_choice("beta_on", beta_on, ("prior", "value"))
        check_choice("reduction", reduction, ("mean", "sum", "none"))
        check_count("members", members)
        self.normalize: Normalization | None = normalize
        self.beta_on: BetaPlacement = beta_on
        self.members = members
        self.reduction: Reduction = reduction
        self.beta: float | Beta = beta
        self.check: Checking = check
        self._finiteness = Finiteness()
        # The calls of which kind, with the prior or without it, have had their values checked.
        self._values_checked: set[bool] = set()

    @classmethod
    @named_calls
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
        if value is None:
            return _PriorObjective(prior, **options)
        return _FunctionObjective(value, prior, **options)

    @override
    def __repr__(self) -> str:
        return construction(self, of=ScoreRegularizedObjective, defaults=False)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        """Checks beta; a number may take the place of a `Beta` and the other way round."""
        if name == "beta":
            if not isinstance(value, Beta):
                value = validation.check_beta(value, self.beta_on)
            self._modules.pop("beta", None)
        super().__setattr__(name, value)

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
        data: Tensor | None = None,
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
            beta: a temperature > 0 for each sample, (batch,), in place of the objective's.
            data: samples of the data under the same condition, of x's shape, where beta is a
                `TargetBeta`.
            diagnostics: whether to compute `Diagnostics`.

        Raises:
            ArgumentError: for inputs of a wrong shape, dtype, device or range, or not finite.
            PriorError: where the prior does not return a finite prediction of x's shape.
            ValueFunctionError: where the value is not (batch,), not finite or independent of x.
            SingularTimeError: where the weighted residual is infinite at a given time.
        """
        if diagnostics is not False:
            check_flag("diagnostics", diagnostics)
        if unknown:
            check_keywords(unknown, ("x", "condition", "t", "noise", "beta", "data", "diagnostics"))
        skips_prior = beta is None and self.beta == float("inf")
        always = diagnostics or self.check == "always"
        check_values = always or skips_prior not in self._values_checked
        validation.check_inputs(x, condition, self.generator, check_values)
        if check_values:
            self._finiteness.check()
        validation.check_stack(self.members, x)
        learner = self._learner(x, beta, data, check_values)
        dtype = at_least_single(x.dtype)
        value, value_gradient = self._value_and_gradient(x, condition)
        estimate = None
        if not skips_prior:
            estimate = self._estimate(
                x,
                condition,
                t,
                noise,
                data=None if learner is None else data,
                needs_error=learner is not None,
                check_values=check_values,
            )
        residual, times = (None, None) if estimate is None else (estimate.residual, estimate.times)
        strength = self._strength(x, beta)
        exact = bracket_of(
            None if value_gradient is None else cast(value_gradient, dtype),
            residual,
            strength.to(dtype) if isinstance(strength, Tensor) else strength,
            self.normalize,
            self.beta_on,
            self.members,
        )
        gradient = cast(exact, x.dtype)
        if check_values:
            residuals = None if estimate is None else estimate.residuals
            validation.check_gradients(value, value_gradient, residuals, times)
            validation.check_overflow(gradient, strength)
            self._values_checked.add(skips_prior)
            unmoved = None
        else:
            gradient, unmoved = self._finiteness.guard(gradient, value_gradient, times)
        if learner is not None and estimate is not None and estimate.error is not None:
            learner.observe(estimate.error, estimate.data_error)
        return ObjectiveResult(
            loss=self._reduce(cast(x, dtype) * cast(gradient, dtype)),
            gradient=gradient,
            value=value,
            diagnostics=_diagnostics(value_gradient, estimate) if diagnostics else None,
            unmoved=unmoved,
        )

    def skip_first_check(self) -> None:
        """Takes the next call for a later one, as where a training goes on from a checkpoint."""
        self._values_checked |= {False, True}

    def _value_and_gradient(
        self, x: Tensor, condition: Condition
    ) -> tuple[Tensor | None, Tensor | None]:
        return value_and_gradient(self.value, x, condition)

    def _learner(
        self, x: Tensor, beta: Tensor | None, data: Tensor | None, check_values: bool
    ) -> Beta | None:
        """Returns what learns from this call's errors; checks the temperatures and data given."""
        if beta is not None:
            validation.check_betas(beta, x, self.beta_on, check_values)
        own = self.beta if beta is None else None
        learner = own if isinstance(own, Beta) and own.needs_error else None
        if data is not None:
            validation.check_data_of_call(data, x, learner is not None, check_values)
        return learner if self.training else None

    def _strength(self, x: Tensor, beta: Tensor | None) -> float | Tensor:
        """Returns the temperature of all, or that of each sample, (batch,)."""
        if beta is not None:
            return beta
        if not isinstance(self.beta, Beta):
            return self.beta
        each = self.beta(x.device)
        validation.check_members_of_beta(each, self.members)
        return repeat(each, "m -> (m b)", b=len(x) // len(each))

    def _reduce(self, products: Tensor) -> Tensor:
        """Returns the losses of products, (batch, *event), of each sample or reduced."""
        if self.reduction == "none":
            return products.flatten(1).sum(1)
        total = products.sum()
        return total / products.shape[0] if self.reduction == "mean" else total


class _FunctionObjective(ScoreRegularizedObjective):
    """The objective of a value given as a function."""

    def __init__(
        self, value: ValueFunction, prior: ScorePrior, **options: Unpack[ObjectiveOptions]
    ) -> None:
        called = as_value(value)
        super().__init__(prior, **options)
        # In a tuple, so that a critic which is a module is not registered as a submodule.
        self._function = (value, called)

    @override
    def __repr__(self) -> str:
        return _from_value(self, short(self._function[0]))

    @override
    def value(self, x: Tensor, condition: Condition) -> Tensor:
        return self._function[1](x, condition)


class _PriorObjective(ScoreRegularizedObjective):
    """The objective of a prior alone: pure score distillation."""

    def __init__(self, prior: ScorePrior, **options: Unpack[ObjectiveOptions]) -> None:
        super().__init__(prior, **options)
        learns = isinstance(self.beta, Beta) and self.beta.needs_error
        if self.normalize is not None or self.beta == float("inf") or learns:
            raise ArgumentError(
                f"got value=None with beta={self.beta} and normalize={self.normalize!r}, expected "
                "a finite beta without normalisation or budget: without a value nothing else moves "
                "x"
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


def _diagnostics(value_gradient: Tensor | None, estimate: Estimate | None) -> Diagnostics:
    if estimate is None:
        return Diagnostics.of(value_gradient, None, None)
    return Diagnostics.of(value_gradient, estimate.times, estimate.residuals)


def _from_value(objective: ScoreRegularizedObjective, value: str) -> str:
    told = construction(objective, of=ScoreRegularizedObjective, defaults=False)
    return f"ScoreRegularizedObjective.from_value({value}, {told.split('(', 1)[1]}"
