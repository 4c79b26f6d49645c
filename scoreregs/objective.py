r"""The objective: a value kept plausible by a diffusion prior (Eq. 15 of SRPO)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn
from typing_extensions import Unpack, override

from scoreregs import validation
from scoreregs.baselines import BaselineLike, as_baseline
from scoreregs.errors import ArgumentError, ValueFunctionError
from scoreregs.kernel import (
    BetaPlacement,
    Normalization,
    regularized_gradient,
    weighted_residual,
)
from scoreregs.prior import ScorePrior
from scoreregs.schedules import as_time
from scoreregs.times import TimesLike, as_times, check_times
from scoreregs.trees import Condition, map_tensors
from scoreregs.weightings import WeightingLike, as_weighting

__all__ = ["Diagnostics", "ObjectiveOptions", "ObjectiveResult", "ScoreRegularizedObjective"]

# Any, so that a critic which is annotated with the condition that it takes is accepted.
ValueFunction = Callable[[Tensor, Any], Tensor]
Reduction = Literal["mean", "sum", "none"]


@dataclass(frozen=True)
class Diagnostics:
    """What the two forces on x do; every tensor is detached and on x's device.

    Attributes:
        value_gradient_norm: L2 norm of the value's gradient, (batch,), or None without a value.
        prior_gradient_norm: L2 norm of the expected weighted residual, (batch,), or None where beta
            is infinite.
        cosine: cosine between the value's gradient and minus the residual, (batch,): 1 where both
            pull x the same way, -1 where they are opposed; None where one of them is.
        t: the times, (draws, batch), or None where beta is infinite.
        residual_norm: L2 norm of each draw's weighted residual, (draws, batch); with `t`, the
            residual by time.
    """

    value_gradient_norm: Tensor | None
    prior_gradient_norm: Tensor | None
    cosine: Tensor | None
    t: Tensor | None
    residual_norm: Tensor | None


@dataclass(frozen=True)
class ObjectiveResult:
    r"""What an objective returns.

    Attributes:
        loss: $\sum_{\text{event}} x \cdot \mathrm{stopgrad}(\text{gradient})$, reduced over the
            batch. Its gradient is what matters, its value has no meaning: watch `value` instead.
        gradient: minus the bracket of Eq. 15 for each sample, (batch, *event), detached; with the
            mean reduction x.grad is this over the batch size.
        value: the value of each sample, (batch,), detached, or None without a value.
        diagnostics: on request, else None.
    """

    loss: Tensor
    gradient: Tensor
    value: Tensor | None
    diagnostics: Diagnostics | None


class ObjectiveOptions(TypedDict, total=False):
    """The keyword arguments of `ScoreRegularizedObjective`, documented there."""

    beta: float
    normalize: Normalization | None
    beta_on: BetaPlacement
    weighting: WeightingLike
    baseline: BaselineLike
    times: TimesLike
    draws: int
    reduction: Reduction
    generator: torch.Generator | None


class ScoreRegularizedObjective(nn.Module, ABC):
    r"""A value to maximise while a diffusion prior keeps x plausible, abstract in `value`.

    $$ \nabla_\theta = \Big[ \nabla_x \mathrm{value}(x, c) - \tfrac1\beta\,
       \mathbb E_{t, \epsilon}\, w(t) \big( \hat\epsilon(x_t \mid c, t) - b \big) \Big]
       \frac{\partial x}{\partial \theta}, \qquad x_t = \alpha(t) x + \sigma(t) \epsilon $$

    Called with x it returns a loss to minimise: after `result.loss.backward()`, x.grad is minus the
    bracket, averaged over the batch and summed over the event. The prior is never sampled from nor
    differentiated through, the value is differentiated at a detached x, and neither's parameters
    are the objective's or get a gradient.

    Args:
        prior: the diffusion prior.
        beta: the temperature, > 0; infinite leaves the value alone and skips the prior. It may be
            set between calls.
        normalize: None; or "l2" or "rms", which divide beta by that norm of the value's gradient
            for each sample (Appendix C, AntMaze: the paper's is "l2", its code's is "rms").
        beta_on: "prior" multiplies the residual with 1/beta as in Eq. 15; "value" multiplies the
            value with beta, as the paper's published code does.
        weighting: w(t): "sigma2", "uniform", "alpha_over_sigma", or a function of the `NoiseLevel`.
        baseline: b: "noise" subtracts epsilon, "none" nothing.
        times: a range (low, high) of uniform times, a fixed time, or a `TimeSampler`.
        draws: how many (t, noise) are averaged for each sample.
        reduction: of the loss over the batch: "mean", "sum" or "none".
        generator: the source of t and noise, on x's device; the global one by default.

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
        draws: int = 1,
        reduction: Reduction = "mean",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(prior, ScorePrior):
            raise ArgumentError(
                f"got a prior of type {type(prior).__name__}, expected a ScorePrior: wrap a "
                "network in scoreregs.NetworkPrior(network, schedule, prediction)"
            )
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
        self.baseline = as_baseline(baseline)
        self.times = as_times(times)
        self.draws = draws
        self.reduction: Reduction = reduction
        self.generator = generator
        self.beta = beta
        self._values_checked = False
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
        return _FunctionObjective(value, prior, **options)

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

    @property
    def has_value(self) -> bool:
        """Whether there is a value; without one the prior alone moves x."""
        return True

    @override
    def forward(
        self,
        x: Tensor,
        condition: Condition = None,
        *,
        t: float | Tensor | None = None,
        noise: Tensor | None = None,
        diagnostics: bool = False,
    ) -> ObjectiveResult:
        """Returns the loss whose gradient with respect to x is minus that of Eq. 15.

        Shapes, dtypes and devices are checked always; NaN and infinities at the first call and with
        diagnostics, where the device is waited for.

        Args:
            x: what is optimised, (batch, *event), floating point.
            condition: passed to value and prior: None, a tensor, or nested dicts, lists and tuples
                of tensors, batch first.
            t: times in place of drawn ones: one, (batch,) or (draws, batch), in [0, 1].
            noise: noise in place of drawn one: (batch, *event) or (draws, batch, *event).
            diagnostics: whether to compute `Diagnostics`.

        Raises:
            ArgumentError: for inputs of a wrong shape, dtype, device or range, or not finite.
            PriorError: where the prior does not return a finite prediction of x's shape.
            ValueFunctionError: where the value is not (batch,), not finite or independent of x.
            SingularTimeError: where the weighted residual is infinite at a given time.
        """
        check_values = diagnostics or not self._values_checked
        validation.check_inputs(x, condition, self.generator, check_values)
        value, value_gradient = self._value_and_gradient(x, condition)
        residuals = times = None
        if self.beta != float("inf"):
            times, residuals = self._residuals(x, condition, t, noise, check_values)
        residual = None if residuals is None else reduce(residuals, "k b ... -> b ...", "mean")
        gradient = regularized_gradient(
            value_gradient, residual, self.beta, self.normalize, self.beta_on
        )
        if check_values:
            validation.check_gradients(value, value_gradient, residual)
            self._values_checked = True
        return ObjectiveResult(
            loss=self._reduce((x * gradient).flatten(1).sum(1)),
            gradient=gradient,
            value=value,
            diagnostics=_diagnose(value_gradient, times, residuals) if diagnostics else None,
        )

    def _value_and_gradient(
        self, x: Tensor, condition: Condition
    ) -> tuple[Tensor | None, Tensor | None]:
        if not self.has_value:
            return None, None
        if torch.is_inference_mode_enabled():
            raise ArgumentError(
                "got a call in torch.inference_mode(), where a value cannot be differentiated; "
                "expected torch.no_grad() or none"
            )
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            value = self.value(leaf, condition)
            validation.check_value(value, leaf)
            (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
        if gradient is None:
            raise ValueFunctionError(validation.INDEPENDENT_VALUE)
        return value.detach(), gradient

    def _residuals(
        self,
        x: Tensor,
        condition: Condition,
        t: float | Tensor | None,
        noise: Tensor | None,
        check_values: bool,
    ) -> tuple[Tensor, Tensor]:
        """Returns times, (draws, batch), and weighted residuals, (draws, batch, *event)."""
        times, noises = self._draw(x, t, noise)
        if check_values:
            validation.check_finite("noise", noises)
        if check_values or (t is not None and times.device.type == "cpu"):
            check_times(times)
            validation.check_singular(self.prior, self.weighting, times.flatten())
        draws = times.shape[0]
        with self.prior.evaluating():
            residuals = weighted_residual(
                self.prior,
                repeat(x.detach(), "b ... -> (k b) ...", k=draws),
                map_tensors(lambda c: repeat(c, "b ... -> (k b) ...", k=draws), condition),
                rearrange(times, "k b -> (k b)"),
                rearrange(noises, "k b ... -> (k b) ..."),
                self.weighting,
                self.baseline,
            )
        return times, rearrange(residuals, "(k b) ... -> k b ...", k=draws)

    def _draw(
        self, x: Tensor, t: float | Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Returns times, (draws, batch), and noise, (draws, batch, *event), given or drawn."""
        given = validation.given_draws(x, t, noise)
        draws = self.draws if given is None else given
        if t is None:
            times = self.times.sample(draws, len(x), x.device, self.generator)
        else:
            times = as_time(t, x.device).detach().expand(draws, len(x))
        if noise is None:
            shape = (draws, *x.shape)
            noise = torch.randn(shape, generator=self.generator, dtype=x.dtype, device=x.device)
        return times, noise.detach().expand(draws, *x.shape)

    def _reduce(self, losses: Tensor) -> Tensor:
        if self.reduction == "none":
            return losses
        return losses.mean() if self.reduction == "mean" else losses.sum()


class _FunctionObjective(ScoreRegularizedObjective):
    """The objective of a value given as a function."""

    def __init__(
        self, value: ValueFunction | None, prior: ScorePrior, **options: Unpack[ObjectiveOptions]
    ) -> None:
        if value is not None and not callable(value):
            raise ArgumentError(
                f"got a value of type {type(value).__name__}, expected a function of "
                "(x, condition), or None"
            )
        super().__init__(prior, **options)
        if value is None and (self.normalize is not None or self.beta == float("inf")):
            raise ArgumentError(
                f"got value=None with beta={self.beta} and normalize={self.normalize!r}, expected "
                "a finite beta without normalisation: without a value nothing else moves x"
            )
        self._function = (value,)

    @property
    @override
    def has_value(self) -> bool:
        return self._function[0] is not None

    @override
    def value(self, x: Tensor, condition: Condition) -> Tensor:
        (function,) = self._function
        if function is None:
            raise ArgumentError("got value=None, expected a function: this objective has none")
        return function(x, condition)


def _diagnose(
    value_gradient: Tensor | None, times: Tensor | None, residuals: Tensor | None
) -> Diagnostics:
    value = None if value_gradient is None else value_gradient.flatten(1)
    prior = None if residuals is None else residuals.mean(0).flatten(1)
    return Diagnostics(
        value_gradient_norm=None if value is None else value.norm(dim=1),
        prior_gradient_norm=None if prior is None else prior.norm(dim=1),
        cosine=None
        if value is None or prior is None
        else torch.cosine_similarity(value, -prior, dim=1),
        t=times,
        residual_norm=None if residuals is None else residuals.flatten(2).norm(dim=2),
    )
