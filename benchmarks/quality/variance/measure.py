r"""Traces of the covariance of two estimates, and what no choice of times goes below.

Per sample: the weighted residual at an x, the mean of 4 draws; the trace is averaged over x.
Parameters: the gradient of a policy's parameters, the mean over a batch of 256 states with one draw
each. The states are fixed, so that the trace is that of the estimator alone, but their order is
random, as in training: times that are spread over a batch go with its order.

The baselines are applied to one and the same prediction; repetitions are independent. A trace is
estimated in groups of repetitions, whose spread is its standard error.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from benchmarks.quality.variance.cases import Case
from benchmarks.quality.variance.estimators import Draws, baselines
from scoreregs import ScorePrior
from scoreregs.baselines import Baseline, NoiseBaseline
from scoreregs.draws import Draw, weigh
from scoreregs.kernel import residual_of
from scoreregs.noisers import as_noiser
from scoreregs.weightings import Sigma2, Weighting

__all__ = [
    "Problem",
    "Trace",
    "learn_times",
    "parameter_problem",
    "per_sample_floors",
    "per_sample_problem",
    "stratified_floor",
    "traces",
    "warm_up",
]

# (repetitions, draws, batch, d) residuals to (repetitions, parts, size) estimates: the trace is
# summed over the size and averaged over the parts.
Estimate = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Problem:
    """What is estimated: residuals of a prior at x, and a linear function of them."""

    prior: ScorePrior
    x: Tensor
    condition: Tensor | None
    draws: int
    estimate: Estimate


@dataclass(frozen=True)
class Trace:
    """A trace and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, groups: list[float]) -> "Trace":
        """Returns the mean of the groups' traces."""
        values = torch.tensor(groups, dtype=torch.float64)
        return cls(float(values.mean()), float(values.std() / len(values) ** 0.5))

    def over(self, other: "Trace") -> "Trace":
        """Returns the ratio to another trace, the errors taken as independent."""
        ratio = self.value / other.value
        relative = (self.error / self.value) ** 2 + (other.error / other.value) ** 2
        return Trace(ratio, ratio * relative**0.5)


@dataclass(frozen=True, eq=False)
class _Residuals:
    """One prediction, (repetitions * draws * batch) rows, for every baseline."""

    draw: Draw
    weighting: Weighting
    shape: tuple[int, ...] = field(kw_only=True)

    def under(self, baseline: Baseline) -> Tensor:
        return residual_of(self.draw, self.weighting, baseline).reshape(self.shape)


def per_sample_problem(case: Case, points: int, draws: int = 4) -> Problem:
    """Returns the estimate at the first points of a case, the mean of some draws."""
    condition = None if case.condition is None else case.condition[:points]
    return Problem(case.model, case.x[:points], condition, draws, lambda r: r.mean(1))


def parameter_problem(case: Case) -> Problem:
    """Returns the gradient of a case's policy, one draw for each state."""
    x = case.policy(case.states)
    gradient = _vector_jacobian(x, case.policy)
    return Problem(case.model, x.detach(), case.condition, 1, lambda r: gradient(r.mean(1)))


def traces(
    problem: Problem,
    draws: Draws,
    used: dict[str, Baseline],
    repetitions: int,
    groups: int,
    generator: Generator,
) -> dict[str, Trace]:
    """Returns the trace under each baseline, as it stands."""
    found: dict[str, list[float]] = {name: [] for name in used}
    for _ in range(groups):
        residuals = _residuals(problem, draws, repetitions // groups, generator)
        for name, baseline in used.items():
            found[name].append(_trace(problem.estimate(residuals.under(baseline))))
    return {name: Trace.of(values) for name, values in found.items()}


def warm_up(
    problem: Problem, draws: Draws, batches: int, generator: Generator
) -> dict[str, Baseline]:
    """Returns baselines that have learned from a number of batches."""
    made = baselines()
    for _ in range(batches):
        draw = _residuals(problem, draws, 1, generator).draw
        for baseline in made.values():
            baseline.observe(draw)
    return made


def learn_times(
    problem: Problem, draws: Draws, baseline: Baseline, batches: int, generator: Generator
) -> None:
    """Shows the times of a plan the residuals of a number of batches, as an objective does."""
    for _ in range(batches):
        residuals = _residuals(problem, draws, 1, generator)
        found = residual_of(residuals.draw, draws.weighting, baseline)
        draws.times.observe(residuals.draw.level.t, found)


def stratified_floor(
    problem: Problem,
    draws: Draws,
    baseline: Baseline,
    repetitions: int,
    groups: int,
    generator: Generator,
) -> Trace:
    r"""Returns $E_t\, \mathrm{tr\, Cov}_\epsilon$, the trace that perfectly spread times leave.

    It is half the squared distance between two estimates of the same times with their own noise.
    """
    found = []
    for _ in range(groups):
        times = _times(problem, draws, repetitions // groups, generator)
        pair = [
            problem.estimate(
                _residuals(problem, draws, len(times), generator, times).under(baseline)
            )
            for _ in range(2)
        ]
        distance = (pair[0] - pair[1]).double().square().sum(-1)
        found.append(float(distance.mean()) / 2)
    return Trace.of(found)


def per_sample_floors(
    problem: Problem, times: int, noises: int, generator: Generator
) -> dict[str, float]:
    r"""Returns what is left per sample by perfectly spread times and two control variates.

    `scalar` is $E_t \min_c \mathrm{tr\, Cov}_\epsilon$ with one c(t) for all x, the best that a
    scaled noise can do. `linear` has a matrix C(t, x) in its place, the best of everything linear
    in the noise: a Gaussian's residual, which is linear, leaves nothing.

    Args:
        problem: the estimate.
        times: strata of t.
        noises: draws of the noise in each, more than d + 1.
        generator: the source of both.
    """
    count, d = problem.x.shape
    uniform = torch.rand(times, generator=generator, dtype=torch.float64)
    t = 0.02 + 0.96 * (torch.arange(times) + uniform) / times
    scalar = linear = 0.0
    for time in t:
        noise = torch.randn(noises, count, d, generator=generator, dtype=torch.float64)
        draw = _draw(problem, time.expand(noises, count), noise)
        residual = residual_of(draw, Sigma2(), NoiseBaseline()).reshape(noises, count, d).double()
        scaled = weigh(Sigma2().log_weight(draw.level), draw.noise).reshape(noises, count, d)
        residual = residual - residual.mean(0)
        scaled = scaled.double() - scaled.double().mean(0)
        total, power = residual.square().sum(), scaled.square().sum()
        scalar += float(total - (residual * scaled).sum().square() / power) / (noises - 1)
        by_x = noise.double().movedim(0, 1)
        by_x = by_x - by_x.mean(1, keepdim=True)
        fit = torch.linalg.lstsq(by_x, residual.movedim(0, 1)).solution
        left = residual.movedim(0, 1) - by_x @ fit
        linear += float(left.square().sum()) / (noises - 1 - d)
    scale = count * times * problem.draws
    return {"scalar": scalar / scale, "linear": linear / scale}


def _times(problem: Problem, draws: Draws, repetitions: int, generator: Generator) -> Tensor:
    """Returns independent samples of the times, (repetitions, draws, batch)."""
    noiser, batch = as_noiser(draws.noiser), len(problem.x)
    sampled = []
    for _ in range(repetitions):
        times = noiser.times(draws.times, problem.draws, batch, problem.x.device, generator)
        sampled.append(times[:, torch.randperm(batch, generator=generator)])
    return torch.stack(sampled)


def _residuals(
    problem: Problem,
    draws: Draws,
    repetitions: int,
    generator: Generator,
    times: Tensor | None = None,
) -> _Residuals:
    if times is None:
        times = _times(problem, draws, repetitions, generator)
    noiser = as_noiser(draws.noiser)
    noise = torch.stack(
        [noiser.sample(problem.prior, problem.x, None, t, generator).noise for t in times]
    )
    shape = (*times.shape, problem.x.shape[1])
    draw = _draw(problem, times.flatten(0, 1), noise.flatten(0, 1))
    return _Residuals(draw, draws.weighting, shape=shape)


def _draw(problem: Problem, times: Tensor, noise: Tensor) -> Draw:
    """Returns the prediction at (rows, batch) times and (rows, batch, d) noise."""

    def tiled(rows: Tensor) -> Tensor:
        return rows.expand(len(times), *rows.shape).flatten(0, 1)

    condition = None if problem.condition is None else tiled(problem.condition)
    with problem.prior.evaluating():
        return Draw.of(
            problem.prior, tiled(problem.x), condition, times.flatten(), noise.flatten(0, 1)
        )


def _trace(estimates: Tensor) -> float:
    """Returns the trace of the covariance over the repetitions, averaged over the parts."""
    return float(estimates.double().var(0).sum(-1).mean())


def _vector_jacobian(x: Tensor, policy: nn.Module) -> Estimate:
    """Returns the map from residuals, (n, batch, d), to gradients, (n, 1, parameters)."""
    parameters = list(policy.parameters())

    def pull(residual: Tensor) -> Tensor:
        gradients = torch.autograd.grad(
            x, parameters, residual.to(x.dtype) / len(x), retain_graph=True, is_grads_batched=True
        )
        return torch.cat([g.flatten(1) for g in gradients], dim=1)[:, None]

    return pull
