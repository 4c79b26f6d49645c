r"""Denoising score matching: how a prior is fit to data."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from scoreregs.arguments import (
    check_count,
    check_function,
    check_generator,
    check_pair,
    check_positive,
    named_calls,
)
from scoreregs.errors import ArgumentError, SingularTimeError
from scoreregs.kernel import denoising_loss
from scoreregs.predictions import PredictionLike
from scoreregs.prior import NetworkPrior
from scoreregs.schedules import NoiseSchedule, as_time
from scoreregs.times import UniformTimes
from scoreregs.trees import Condition, map_tensors
from scoreregs.validation import check_data

__all__ = ["fit_prior"]


@named_calls
def fit_prior(
    network: nn.Module,
    data: Tensor,
    schedule: NoiseSchedule,
    *,
    condition: Condition = None,
    prediction: PredictionLike = "epsilon",
    time_map: Callable[[Tensor], Tensor] | None = None,
    times: tuple[float, float] = (1e-3, 1.0),
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    generator: torch.Generator | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> NetworkPrior:
    r"""Returns a prior whose network, trained in place, predicts the noise in the data.

    $$ \min_\psi\; \mathbb E_{t, \epsilon, (x, c)}
       \big\| \hat y_\psi(\alpha x + \sigma \epsilon \mid c, t) - y \big\|^2 $$

    with y the target of the prediction type (Eq. 13 is the epsilon case); by Adam with a cosine
    decay to zero. A longer training loop of your own calls `scoreregs.kernel.denoising_loss`.

    Args:
        network: a module of (x_t, t, condition), on the data's device.
        data: samples, (count, *event), floating point.
        schedule: the noise schedule.
        condition: what the samples are conditioned on, its batch of the data's length.
        prediction: what the network learns to return, see `ScorePrior`.
        time_map: maps t to what the network wants, see `NetworkPrior`.
        times: the range of the uniform times.
        steps: gradient steps.
        batch_size: samples a step, drawn with replacement.
        learning_rate: Adam's, at the start.
        generator: the source of batches, times and noise, on the data's device.
        on_step: called with each step's number and detached mean loss.

    Raises:
        ArgumentError: for data that is not a non-empty finite batch, a condition of another length
            or a range outside its bounds.
        SingularTimeError: where the target is infinite at an end of the time range.

    Example:
        >>> from scoreregs import VPSchedule
        >>> class Linear(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(2, 1)
        ...     def forward(self, x_t, t, condition):
        ...         return self.layer(torch.cat([x_t, t[:, None]], dim=1))
        >>> generator = torch.Generator().manual_seed(0)
        >>> data = torch.randn(512, 1, generator=generator)
        >>> prior = fit_prior(Linear(), data, VPSchedule(), steps=5, generator=generator)
        >>> prior.epsilon(data[:4], 0.5).shape
        torch.Size([4, 1])
    """
    _check(network, data, condition, steps, batch_size)
    check_generator(generator, data.device)
    check_positive(learning_rate=learning_rate)
    if on_step is not None:
        check_function("on_step", on_step, "(step, loss), or None")
    sampler = UniformTimes(*check_pair("times", times))
    prior = NetworkPrior(network, schedule, prediction, time_map)
    _check_target(prior, as_time(list(times)))
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    modes = [(module, module.training) for module in network.modules()]
    network.train()
    try:
        for step in range(steps):
            loss = _draw_loss(prior, data, condition, sampler, batch_size, generator).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            decay.step()
            if on_step is not None:
                on_step(step, loss.detach())
    finally:
        optimizer.zero_grad(set_to_none=True)
        for module, training in modes:
            module.training = training
    return prior


def _draw_loss(
    prior: NetworkPrior,
    data: Tensor,
    condition: Condition,
    sampler: UniformTimes,
    batch_size: int,
    generator: torch.Generator | None,
) -> Tensor:
    device = data.device
    rows = torch.randint(len(data), (batch_size,), generator=generator, device=device)
    x = data[rows]
    t = sampler.sample(1, batch_size, device, generator)[0]
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=device)
    return denoising_loss(prior, x, map_tensors(lambda c: c[rows], condition), t, noise)


def _check(
    network: nn.Module, data: Tensor, condition: Condition, steps: int, batch_size: int
) -> None:
    if not isinstance(network, nn.Module) or not any(p.requires_grad for p in network.parameters()):
        raise ArgumentError(
            f"got a network of type {type(network).__name__} with nothing to train, expected a "
            "torch.nn.Module with parameters that require a gradient"
        )
    check_data(data, condition, least=1)
    for name, count in (("steps", steps), ("batch_size", batch_size)):
        check_count(name, count)


@torch.no_grad()
def _check_target(prior: NetworkPrior, ends: Tensor) -> None:
    level = prior.schedule.at(ends)
    ones = torch.ones_like(level.t)[:, None]
    target = prior.prediction.difference(0 * ones, ones, ones, level, prior.schedule)
    if not bool(target.isfinite().all()):
        raise SingularTimeError(
            f"got times={tuple(ends.tolist())}, where the target of a {prior.prediction.name} "
            f"prediction is infinite under {type(prior.schedule).__name__}, expected a range "
            "without that end: start at 1e-3 or end at 1 - 1e-3"
        )
