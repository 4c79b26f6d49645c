r"""Inverse problems by denoising and data steps in turn, on flow models and any other prior.

The steps are those of the published code of both, whose PnP-Flow counts time from the noise; on flow
models they are the same, on others the corresponding ones. Beside RED-diff (`scoreregs.recipes.red_diff`), which adds both forces, these take one after the
other. At a time t, with x_hat and epsilon_hat the prior's predictions and $\tau = \sigma /
(\alpha + \sigma)$, which is t on rectified flow:

| solver | what follows x at the next time t' |
|---|---|
| `pnp_flow` | $\mathbb E_\epsilon\, \hat x(\alpha z + \sigma \epsilon)$ with $z = x + \eta\, \tau^a\, \nabla \mathrm{value}(x)$ |
| `flow_dps` | $\alpha' x_y + \sigma' (\sqrt{\tau'}\, \hat\epsilon + \sqrt{1 - \tau'}\, \epsilon)$ with $x_y = \hat x + \tau\, (\text{ascent of value from } \hat x - \hat x)$ |
"""  # noqa: E501

import torch
from torch import Tensor

from scoreregs import validation
from scoreregs.arguments import (
    check_count,
    check_numbers,
    check_pair,
    check_positive,
    named_calls,
)
from scoreregs.draws import Draw, at_least_single, fold, repeated
from scoreregs.errors import ArgumentError
from scoreregs.finiteness import nonfinite_prediction
from scoreregs.options import ValueFunction
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.schedules.base import time_dtype
from scoreregs.trees import Condition
from scoreregs.value_gradient import as_value, value_and_gradient

__all__ = ["flow_dps", "pnp_flow"]

Times = tuple[float, float]


@named_calls
def pnp_flow(
    value: ValueFunction,
    prior: ScorePrior,
    start: Tensor,
    condition: Condition = None,
    *,
    steps: int = 100,
    step_size: float = 1.0,
    decay: float = 1.0,
    draws: int = 5,
    times: Times = (0.01, 0.99),
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Returns a restoration by a step of the value, diffusion and denoising at each time.

    Its last half step is that of Eq. 15 at rate 1 under the weight sigma / alpha: z minus the
    residual $z - \hat x$.

    Args:
        value: minus the data misfit of each sample, (batch,), differentiable in x.
        prior: the prior of the data.
        start: where x starts, (batch, *event).
        condition: passed to value and prior.
        steps: how many times lead evenly from the noisiest to the cleanest.
        step_size: eta of the value's step, > 0; 1 for a misfit of half the squared error.
        decay: a, how fast that step vanishes towards the data, >= 0.
        draws: how many noises are averaged at each time.
        times: the cleanest and the noisiest time.
        generator: the source of noise, on x's device; the global one by default.

    Raises:
        ArgumentError: for an argument outside its range.
        ValueFunctionError: where the value is not (batch,) or not finite, as it becomes where
            steps are too large.
        PriorError: where a prediction is not finite.

    References:
        Martin et al., PnP-Flow: Plug-and-Play Image Restoration with Flow Matching, ICLR 2025;
        its code's `pnp_flow`.

    Example:
        >>> from scoreregs import GaussianMixturePrior, RectifiedFlowSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], RectifiedFlowSchedule())
        >>> def value(x, condition):
        ...     return -0.5 * (x - 2.0).square().sum(-1)
        >>> pnp_flow(value, prior, torch.zeros(1, 1), steps=50).shape
        torch.Size([1, 1])
    """
    value = as_value(value)
    x = _checked(prior, start, condition, steps, step_size, generator)
    check_count("draws", draws)
    check_numbers(decay=decay)
    if not 0 <= decay < float("inf"):
        raise ArgumentError(f"got decay={decay!r}, expected a finite number >= 0")
    rows = fold(condition, len(x), draws)
    with prior.evaluating():
        for t in _descending(times, steps, x.device):
            level = prior.schedule.at(t)
            share = (level.sigma / (level.alpha + level.sigma)).to(x.dtype)
            z = x + step_size * share**decay * _gradient(value, x, condition)
            many = repeated(z, draws)
            draw = Draw.of(prior, many, rows, t.expand(len(many)), _normal(many, generator))
            x = _finite(draw.denoised.unflatten(0, (draws, -1)).mean(0), t)
    return x.to(start.dtype)


@named_calls
def flow_dps(
    value: ValueFunction,
    prior: ScorePrior,
    start: Tensor,
    condition: Condition = None,
    *,
    steps: int = 50,
    step_size: float = 1.0,
    ascent: int = 3,
    times: Times = (0.01, 0.99),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Returns samples that follow the prior's flow and a value of the predicted data.

    They are narrower than a posterior, for a prediction of noise that is mixed with new noise has
    less variance than one: of a Gaussian of variance 0.5, without a value, they have 0.34.

    Args:
        value: minus the data misfit of each sample, (batch,), differentiable in x.
        prior: the prior of the data.
        start: a tensor of the samples' shape, (batch, *event); its numbers play no part.
        condition: passed to value and prior.
        steps: how many times lead evenly from the noisiest to the cleanest.
        step_size: of each step of the ascent, > 0.
        ascent: how many steps of the value's gradient are taken from the predicted data.
        times: the cleanest and the noisiest time.
        generator: the source of noise, on x's device; the global one by default.

    Raises:
        ArgumentError: for an argument outside its range.
        ValueFunctionError: where the value is not (batch,) or not finite, as it becomes where
            steps are too large.
        PriorError: where a prediction is not finite.

    References:
        Kim et al., FlowDPS: Flow-Driven Posterior Sampling for Inverse Problems, ICCV 2025;
        its code's `flowdps` solver, whose misfit is a norm and not its square.

    Example:
        >>> from scoreregs import GaussianMixturePrior, RectifiedFlowSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], RectifiedFlowSchedule())
        >>> def value(x, condition):
        ...     return -0.5 * (x - 2.0).square().sum(-1)
        >>> flow_dps(value, prior, torch.zeros(4, 1), steps=10).shape
        torch.Size([4, 1])
    """
    value = as_value(value)
    x = _checked(prior, start, condition, steps, step_size, generator)
    check_count("ascent", ascent)
    all_times = _descending(times, steps, x.device)
    first = prior.schedule.at(all_times[0])
    x_t = (first.alpha.square() + first.sigma.square()).sqrt().to(x.dtype) * _normal(x, generator)
    clean = x
    with prior.evaluating():
        for number, t in enumerate(all_times):
            level = prior.schedule.at(t.expand(len(x)))
            output = prior.checked_predict(x_t, level, condition)
            clean = _finite(prior.prediction.sample(output, x_t, level, prior.schedule), t)
            noise = prior.prediction.epsilon(output, x_t, level, prior.schedule)
            fitted = clean
            for _ in range(ascent):
                fitted = fitted + step_size * _gradient(value, fitted, condition)
            share = (level.sigma[0] / (level.alpha[0] + level.sigma[0])).to(x.dtype)
            clean = torch.lerp(clean, fitted, share)
            if number + 1 < steps:
                after = prior.schedule.at(all_times[number + 1])
                share = (after.sigma / (after.alpha + after.sigma)).to(x.dtype)
                mixed = share.sqrt() * noise + (1 - share).sqrt() * _normal(x, generator)
                x_t = after.alpha.to(x.dtype) * clean + after.sigma.to(x.dtype) * mixed
    return clean.to(start.dtype)


def _checked(
    prior: ScorePrior,
    start: Tensor,
    condition: Condition,
    steps: int,
    step_size: float,
    generator: torch.Generator | None,
) -> Tensor:
    """Returns where x starts, in float32 or more."""
    check_prior_type(prior)
    validation.check_inputs(start, condition, generator, check_values=True)
    check_count("steps", steps)
    check_positive(step_size=step_size)
    return start.detach().to(at_least_single(start.dtype))


def _gradient(value: ValueFunction, x: Tensor, condition: Condition) -> Tensor:
    """Returns the value's gradient, which is finite."""
    values, gradient = value_and_gradient(value, x, condition)
    validation.check_gradients(values, gradient, None, None)
    return gradient


def _finite(x: Tensor, t: Tensor) -> Tensor:
    """Returns what the prior predicted at t, which is finite."""
    bad = ~x.flatten(1).isfinite().all(1)
    if bool(bad.any()):
        raise nonfinite_prediction(bad[None], t.expand(1, len(x)))
    return x


def _descending(times: Times, steps: int, device: torch.device) -> Tensor:
    low, high = check_pair("times", times)
    if not 0 < low < high <= 1:
        raise ArgumentError(f"got the times ({low}, {high}), expected 0 < low < high <= 1")
    return torch.linspace(high, low, steps, dtype=time_dtype(device), device=device)


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
