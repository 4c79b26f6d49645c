r"""Sampling and log-density through the probability-flow ODE, for pictures and tests.

In the angle $\theta = \arctan(\sigma / \alpha)$ and with $z = x_t / \sqrt{\alpha^2 + \sigma^2}$ the
ODE of Song et al. (Eq. 7 of SRPO) is the same for every schedule and finite at both ends:

$$ \frac{\mathrm d z}{\mathrm d \theta} = \hat v(x_t, t)
   = \cos\theta\; \hat\epsilon - \sin\theta\; \hat x, \qquad
   \frac{\mathrm d \log p}{\mathrm d \theta} = -\nabla_z \cdot \hat v. $$

The library itself never samples from a prior; regularisation does not need it.

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021;
    Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models, 2022.
"""

import importlib
import math
from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor

from scoreregs.arguments import (
    check_floating,
    check_generator,
    check_numbers,
    named_calls,
)
from scoreregs.devices import present_device
from scoreregs.draws import at_least_single
from scoreregs.errors import ArgumentError, MissingDependencyError
from scoreregs.prior import ScorePrior, check_prior_type
from scoreregs.schedules import NoiseSchedule, TabulatedSchedule, as_time
from scoreregs.trees import Condition, check_condition
from scoreregs.validation import check_finite

__all__ = ["log_density", "sample"]


@named_calls
def sample(
    prior: ScorePrior,
    shape: tuple[int, ...],
    condition: Condition = None,
    *,
    times: tuple[float, float] = (1e-3, 1.0),
    tolerance: float = 1e-5,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Returns samples of a prior, integrated from noise to data.

    Args:
        prior: the diffusion prior.
        shape: (batch, *event).
        condition: passed to the prior, batch first.
        times: where the integration ends and where it starts.
        tolerance: relative and absolute tolerance of the solver (Dormand-Prince 5; under a table
            that snaps it is DDIM over the table's steps, without one).
        generator: the source of the noise, on the device.
        dtype: of the samples.
        device: of the samples.

    Raises:
        ArgumentError: unless 0 <= times[0] < times[1] <= 1, and for a device that is not there.
        MissingDependencyError: without torchdiffeq (extra `ode`).

    Example:
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[3.0]], [[[0.01]]], VPSchedule())
        >>> samples = sample(prior, (500, 1), generator=torch.Generator().manual_seed(0))
        >>> round(samples.mean().item(), 1), round(samples.std().item(), 1)
        (3.0, 0.1)
    """
    device = present_device(device)
    check_condition(condition)
    check_generator(generator, device)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ArgumentError(f"got dtype={dtype!r}, expected a floating one such as torch.float32")
    if device.type == "meta":
        raise ArgumentError(
            "got device='meta', where tensors have no values, expected one such as 'cpu' or 'cuda'"
        )
    # A solver's steps are beneath the precision of half types.
    solved = at_least_single(dtype)
    path = _path(prior, times, tolerance, solved).flip(0)
    z = torch.randn(_checked_shape(shape), generator=generator, dtype=solved, device=device)

    def dynamics(angle: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with prior.evaluating():
            return (_velocity(prior, state[0], angle, condition),)

    (z,) = _integrate(dynamics, (z,), path, tolerance)
    alpha, sigma = prior.schedule(as_time(times[0]))
    return (z * torch.hypot(alpha, sigma).item()).to(dtype)


@named_calls
def log_density(
    prior: ScorePrior,
    x: Tensor,
    condition: Condition = None,
    *,
    times: tuple[float, float] = (1e-3, 1.0),
    tolerance: float = 1e-5,
) -> Tensor:
    """Returns the log-density of data under a prior, (batch,), with the exact divergence.

    The divergence costs one backward pass for each element of an event: meant for small events.

    Args:
        prior: the diffusion prior.
        x: data, (batch, *event), floating point.
        condition: passed to the prior, batch first.
        times: where the integration starts and where it ends; the density is that of the data
            diffused to the first.
        tolerance: relative and absolute tolerance of the solver.

    Raises:
        ArgumentError: unless 0 <= times[0] < times[1] <= 1.
        MissingDependencyError: without torchdiffeq (extra `ode`).

    Example:
        >>> from scoreregs import GaussianMixturePrior, VPSchedule
        >>> prior = GaussianMixturePrior([1.0], [[0.0]], [[[1.0]]], VPSchedule())
        >>> x = torch.zeros(1, 1, dtype=torch.float64)
        >>> round(log_density(prior, x).item(), 3)  # -log(2 pi) / 2
        -0.919
    """
    check_floating("x", x)
    check_finite("x", x)
    check_condition(condition)
    given, x = x.dtype, x.detach().to(at_least_single(x.dtype))
    path = _path(prior, times, tolerance, x.dtype)

    def dynamics(angle: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with prior.evaluating(), torch.enable_grad():
            z = state[0].detach().requires_grad_()
            velocity = _velocity(prior, z, angle, condition)
            return velocity.detach(), _divergence(velocity, z)

    alpha, sigma = prior.schedule(as_time(times[0]))
    scale = torch.hypot(alpha, sigma).item()
    start = (x / scale, torch.zeros(len(x), dtype=x.dtype, device=x.device))
    z, change = _integrate(dynamics, start, path, tolerance)
    size = x[0].numel()
    gaussian = -z.square().flatten(1).sum(1) / 2 - size * math.log(2 * math.pi) / 2
    return (gaussian + change - size * math.log(scale)).to(given)


def _path(
    prior: ScorePrior, times: tuple[float, float], tolerance: float, dtype: torch.dtype
) -> Tensor:
    """Returns the angles that are passed through, rising: the ends, or all steps of a table.

    At an angle of 0 or pi / 2 a prediction of the data or of the noise says nothing of the other;
    near to it the rounding of one is divided by the angle in the other, so the ends keep away from
    there by the root of the precision.
    """
    check_prior_type(prior)
    check_numbers(tolerance=tolerance)
    ends = as_time(times, "cpu")
    if ends.shape != (2,) or not 0 <= ends[0] < ends[1] <= 1:
        raise ArgumentError(f"got times={times}, expected 0 <= times[0] < times[1] <= 1")
    if not 0 < tolerance < 1:
        raise ArgumentError(f"got tolerance={tolerance}, expected one in (0, 1), such as 1e-5")
    schedule = prior.schedule
    if _snaps(schedule):
        steps = as_time(torch.arange(1, schedule.steps + 1)) / schedule.steps
        ends = torch.cat([ends[:1], steps[(steps > ends[0]) & (steps < ends[1])], ends[1:]])
    level = schedule.at(ends)
    away = torch.finfo(dtype).eps ** 0.5
    return torch.atan2(level.sigma, level.alpha).clamp(away, math.pi / 2 - away).unique()


def _snaps(schedule: NoiseSchedule) -> TypeGuard[TabulatedSchedule]:
    return isinstance(schedule, TabulatedSchedule) and schedule.interpolation == "nearest"


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(sizes) < 2 or not all(
        isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes
    ):
        raise ArgumentError(f"got shape={shape!r}, expected (batch, *event) of positive integers")
    return sizes


def _velocity(prior: ScorePrior, z: Tensor, angle: Tensor, condition: Condition) -> Tensor:
    """Returns d z / d angle."""
    schedule = prior.schedule
    # The ends are reached up to rounding, and a schedule's inverse may refuse what lies beyond.
    limits = schedule.log_snr(as_time([0.0, 1.0], z.device))
    log_snr = (-2 * torch.log(torch.tan(angle))).clamp(limits[1], limits[0])
    level = schedule.at(schedule.t_from_log_snr(log_snr).expand(len(z)))
    x_t = z * torch.hypot(level.alpha, level.sigma)[0].to(z.dtype)
    output = prior.checked_predict(x_t, level, condition)
    epsilon = prior.prediction.epsilon(output, x_t, level, schedule)
    denoised = prior.prediction.sample(output, x_t, level, schedule)
    return torch.cos(angle).to(z.dtype) * epsilon - torch.sin(angle).to(z.dtype) * denoised


def _divergence(velocity: Tensor, z: Tensor) -> Tensor:
    flat = velocity.flatten(1)
    total = torch.zeros_like(flat[:, 0])
    for i in range(flat.shape[1]):
        (row,) = torch.autograd.grad(flat[:, i].sum(), z, retain_graph=True)
        total = total + row.flatten(1)[:, i]
    return total


def _integrate(
    dynamics: Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]],
    state: tuple[Tensor, ...],
    path: Tensor,
    tolerance: float,
) -> tuple[Tensor, ...]:
    try:
        torchdiffeq = importlib.import_module("torchdiffeq")
    except ImportError as error:
        raise MissingDependencyError("torchdiffeq", "ode") from error
    path = path.to(state[0].device)
    if len(path) > 2:
        # A table has no times between its steps: one step of Euler's, which is DDIM, for each.
        passed = torchdiffeq.odeint(dynamics, state, path, method="euler")
        return tuple(p[-1] for p in passed)
    # Without step_t the solver steps past the last angle, where there is no schedule.
    passed = torchdiffeq.odeint(
        dynamics,
        state,
        path,
        rtol=tolerance,
        atol=tolerance,
        method="dopri5",
        options={"step_t": path},
    )
    return tuple(p[-1] for p in passed)
