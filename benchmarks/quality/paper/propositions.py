r"""Propositions 1 and 2 in one dimension, by quadrature: where they hold, and where not.

The behavior is a mixture of two Gaussians, whose diffused density is exact.

Proposition 1: for three families of policies, the one that minimises KL[pi_t || mu_t] at each t.
Proposition 2: the gradient of the regulariser in Eq. 16, by quadrature, beside that of Eq. 15; and,
for a Gaussian policy, whose standard deviation Eq. 15 does not know, the gradient in it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from benchmarks.quality.paper import style
from benchmarks.quality.paper.outcome import Outcome
from scoreregs import (
    GaussianMixturePrior,
    ScorePrior,
    ScoreRegularizedObjective,
    VPSchedule,
    fit_prior,
)
from scoreregs.baselines import BaselineLike

__all__ = [
    "FULL",
    "QUICK",
    "Budget",
    "Mixture",
    "divergence",
    "draw",
    "gradients_in_std",
    "measure",
    "minimiser",
    "regulariser_gradients",
    "table",
]

SCHEDULE = VPSchedule()
TIMES = (0.02, 0.98)
# A divergence, in nats, below which a search cannot tell policies apart.
CLOSE = 1e-4
Weighting = Literal["sigma2", "uniform", "alpha_over_sigma"]
WEIGHTINGS: dict[Weighting, Callable[[float, float], float]] = {
    "sigma2": lambda alpha, sigma: sigma**2,
    "uniform": lambda alpha, sigma: 1.0,
    "alpha_over_sigma": lambda alpha, sigma: alpha / sigma,
}


@dataclass(frozen=True)
class Budget:
    """How much is computed.

    Attributes:
        times: values of t for Proposition 1.
        actions: values of a for Proposition 2.
        nodes: of the time quadrature.
        fit_steps: of a model that is not optimal.
    """

    times: int = 33
    actions: int = 61
    nodes: int = 40
    fit_steps: int = 500


FULL = Budget()
QUICK = Budget(3, 5, 12, 5)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians on the line: weights, means and standard deviations, each (components,)."""

    weights: Tensor
    means: Tensor
    stds: Tensor

    @classmethod
    def of(cls, *parameters: tuple[float, ...]) -> "Mixture":
        """Returns a mixture from numbers."""
        return cls(*(torch.tensor(p, dtype=torch.float64) for p in parameters))

    def log_density(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """Returns the log-density of the diffused mixture, differentiable in its parameters."""
        variance = alpha**2 * self.stds.square() + sigma**2
        energy = (x_t[:, None] - alpha * self.means).square() / variance
        each = -0.5 * (energy + torch.log(2 * torch.pi * variance))
        return torch.logsumexp(torch.log(self.weights) + each, dim=1)

    @property
    def mean(self) -> float:
        """Of the whole mixture."""
        return (self.weights @ self.means).item()

    @property
    def std(self) -> float:
        """Of the whole mixture."""
        second = self.weights @ (self.means.square() + self.stds.square())
        return math.sqrt(second.item() - self.mean**2)

    def prior(self) -> GaussianMixturePrior:
        """Returns the optimal diffusion model."""
        covariances = self.stds.square()[:, None, None]
        return GaussianMixturePrior(self.weights, self.means[:, None], covariances, SCHEDULE)


BEHAVIOR = Mixture.of((0.6, 0.4), (-1.0, 1.2), (0.35, 0.25))


def scales(t: float) -> tuple[float, float]:
    """Returns alpha and sigma."""
    alpha, sigma = SCHEDULE(torch.tensor(t, dtype=torch.float64))
    return alpha.item(), sigma.item()


def divergence(policy: Mixture, behavior: Mixture, t: float) -> Tensor:
    """Returns KL[policy_t || behavior_t] in nats, differentiable in the policy.

    By the trapezoidal rule on a grid six steps to the narrowest standard deviation.
    """
    alpha, sigma = scales(t)
    with torch.no_grad():
        stds = torch.sqrt(alpha**2 * policy.stds.square() + sigma**2)
        step = stds.amin().item() / 6
        low = (alpha * policy.means - 9 * stds).amin().item()
        high = (alpha * policy.means + 9 * stds).amax().item()
        x_t = torch.arange(low, high, step, dtype=torch.float64)
    log_policy = policy.log_density(x_t, alpha, sigma)
    difference = log_policy - behavior.log_density(x_t, alpha, sigma)
    return (log_policy.exp() * difference).sum() * step


Family = Callable[[Tensor], Mixture]


def dirac(parameters: Tensor) -> Mixture:
    """One action."""
    return Mixture(torch.ones(1).double(), parameters[:1], torch.zeros(1).double())


def gaussian(parameters: Tensor) -> Mixture:
    """A mean and a log standard deviation."""
    return Mixture(torch.ones(1).double(), parameters[:1], parameters[1:2].exp())


def two_gaussians(parameters: Tensor) -> Mixture:
    """A family that has the behavior in it: a logit, two means, two log standard deviations."""
    first = torch.sigmoid(parameters[:1])
    return Mixture(torch.cat([first, 1 - first]), parameters[1:3], parameters[3:5].exp())


# Where the search for a minimum starts: between the modes, and at each of them.
STARTS: dict[str, tuple[Family, list[list[float]]]] = {
    "Dirac": (dirac, [[-1.2], [0.0], [1.3]]),
    "Gaussian": (gaussian, [[-1.1, -1.0], [0.1, 0.1], [1.1, -1.0]]),
    "two Gaussians": (two_gaussians, [[0.0, -0.5, 0.7, -0.5, -0.5]]),
}


def minimiser(family: Family, starts: list[list[float]], behavior: Mixture, t: float) -> Mixture:
    """Returns the member of a family that minimises the divergence, the best from all starts."""
    found: list[tuple[float, Tensor]] = []
    for start in starts:
        parameters = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS(
            [parameters],
            max_iter=400,
            tolerance_grad=1e-13,
            tolerance_change=1e-16,
            line_search_fn="strong_wolfe",
        )

        def closure(p: Tensor = parameters, s: torch.optim.Optimizer = search) -> Tensor:
            s.zero_grad()
            loss = divergence(family(p), behavior, t)
            loss.backward()
            return loss

        search.step(closure)
        with torch.no_grad():
            found.append((divergence(family(parameters), behavior, t).item(), parameters.detach()))
    return family(min(found, key=lambda pair: pair[0])[1])


def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return TIMES[0] + (TIMES[1] - TIMES[0]) * (nodes + 1) / 2, weights / 2


def _noise_nodes(count: int = 80) -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())


def regulariser_gradients(
    actions: Tensor,
    behavior: Mixture,
    prior: ScorePrior,
    weighting: Weighting,
    nodes: int,
    baseline: BaselineLike = "noise",
) -> tuple[Tensor, Tensor]:
    """Returns the gradient in a of the regulariser, (count,), from Eq. 16 and from Eq. 15.

    Eq. 16 differentiates the divergence by quadrature, without any prediction of noise; Eq. 15 is
    the mean of an objective's gradient over the nodes of time and noise.
    """
    moving = actions.double().clone().requires_grad_()
    times, shares = _gauss_legendre(nodes)
    total = torch.zeros((), dtype=torch.float64)
    for t, share in zip(times.tolist(), shares.tolist(), strict=True):
        alpha, sigma = scales(t)
        each = torch.stack([divergence(dirac(a[None]), behavior, t) for a in moving])
        total = total + share * WEIGHTINGS[weighting](alpha, sigma) * sigma / alpha * each.sum()
    (eq_16,) = torch.autograd.grad(total, moving)

    noise, noise_shares = _noise_nodes()
    objective = ScoreRegularizedObjective.from_value(
        None, prior, weighting=weighting, baseline=baseline, reduction="none"
    )
    share = (torch.from_numpy(shares)[:, None] * noise_shares).flatten()
    t = torch.from_numpy(times).repeat_interleave(len(noise))
    repeated = noise.repeat(len(times))[:, None]
    eq_15 = []
    for action in actions.double():
        x = action.expand(len(t), 1)
        eq_15.append(share @ objective(x, t=t, noise=repeated).gradient[:, 0])
    return eq_16.detach(), torch.stack(eq_15)


def gradients_in_std(stds: Tensor, behavior: Mixture, nodes: int) -> tuple[Tensor, Tensor]:
    """Returns the gradient of the regulariser in the std of a policy N(0, std^2), (count,).

    First of Eq. 16, then of Eq. 15 with a sampled action, a = std z: as if it were a Dirac policy.
    """
    times, shares = _gauss_legendre(nodes)
    moving = stds.double().clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for t, share in zip(times.tolist(), shares.tolist(), strict=True):
        alpha, sigma = scales(t)
        zero = torch.zeros(1, dtype=torch.float64)
        policies = [Mixture(torch.ones(1).double(), zero, s[None]) for s in moving]
        each = torch.stack([divergence(policy, behavior, t) for policy in policies])
        total = total + share * sigma**3 / alpha * each.sum()
    (eq_16,) = torch.autograd.grad(total, moving)

    noise, noise_shares = _noise_nodes(24)
    axes = torch.meshgrid(torch.from_numpy(times), noise, noise, indexing="ij")
    t, epsilon, z = (axis.flatten() for axis in axes)
    share = torch.einsum("i,j,k->ijk", torch.from_numpy(shares), noise_shares, noise_shares)
    objective = ScoreRegularizedObjective.from_value(None, behavior.prior(), reduction="none")
    eq_15 = [
        (share.flatten() * z)
        @ objective((std * z)[:, None], t=t, noise=epsilon[:, None]).gradient[:, 0]
        for std in stds.double()
    ]
    return eq_16.detach(), torch.stack(eq_15)


def variance_ratio(action: float, prior: ScorePrior, weighting: Weighting, nodes: int) -> float:
    """Returns the variance of one draw of Eq. 15 with the noise baseline over that without."""
    times, shares = _gauss_legendre(nodes)
    noise, noise_shares = _noise_nodes()
    t = torch.from_numpy(times).repeat_interleave(len(noise))
    share = (torch.from_numpy(shares)[:, None] * noise_shares).flatten()
    x = torch.full((len(t), 1), action, dtype=torch.float64)
    found = []
    baselines: tuple[BaselineLike, ...] = ("noise", "none")
    for baseline in baselines:
        objective = ScoreRegularizedObjective.from_value(
            None, prior, weighting=weighting, baseline=baseline
        )
        gradient = objective(x, t=t, noise=noise.repeat(len(times))[:, None]).gradient[:, 0]
        found.append((share @ gradient.square() - (share @ gradient).square()).item())
    return found[0] / found[1]


class _Network(nn.Module):
    """A small model of the noise, far from optimal after a few steps."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        sizes = (3, 32, 32, 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        for parameter in self.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.data = scale * torch.randn(parameter.shape, generator=generator)

    def forward(self, x_t: Tensor, t: Tensor, condition: None) -> Tensor:
        hidden = torch.cat([x_t, t[:, None], torch.log(t)[:, None] / 4], dim=1)
        for layer in self.layers[:-1]:
            hidden = F.silu(layer(hidden))
        return self.layers[-1](hidden)


def measure(budget: Budget, seed: int) -> Outcome:
    """Returns minimisers by t, gradients by action, and what is off where."""
    minimisers = _minimisers(budget)
    actions = torch.linspace(-2.0, 2.0, budget.actions, dtype=torch.float64)
    optimal = BEHAVIOR.prior()
    trained = _trained(budget, seed)
    gradients: dict[str, list[float]] = {"action": actions.tolist()}
    off = {}
    for weighting in WEIGHTINGS:
        eq_16, eq_15 = regulariser_gradients(actions, BEHAVIOR, optimal, weighting, budget.nodes)
        _, no_baseline = regulariser_gradients(
            actions, BEHAVIOR, optimal, weighting, budget.nodes, "none"
        )
        scale = eq_16.abs().max()
        off[weighting] = {
            "noise": ((eq_15 - eq_16).abs().max() / scale).item(),
            "none": ((no_baseline - eq_16).abs().max() / scale).item(),
            "variance_ratio": {
                f"{a:g}": variance_ratio(a, optimal, weighting, budget.nodes)
                for a in (-1.0, 0.1, 1.2)
            },
        }
        if weighting == "sigma2":
            _, biased = regulariser_gradients(actions, BEHAVIOR, trained, weighting, budget.nodes)
            off["not optimal"] = ((biased - eq_16).abs().max() / scale).item()
            gradients |= {
                "eq_16": eq_16.tolist(),
                "eq_15": eq_15.tolist(),
                "eq_15_trained": biased.tolist(),
            }
    standard = Mixture.of((1.0,), (0.0,), (1.0,))
    stds = torch.linspace(0.02, 1.6, budget.actions, dtype=torch.float64)
    in_std = gradients_in_std(stds, standard, budget.nodes)
    numbers = {
        "behavior": {
            "weights": BEHAVIOR.weights.tolist(),
            "means": BEHAVIOR.means.tolist(),
            "stds": BEHAVIOR.stds.tolist(),
            "mean": BEHAVIOR.mean,
            "std": BEHAVIOR.std,
        },
        "proposition_2": off,
    }
    tables = {
        "minimisers": minimisers,
        "gradients": gradients,
        "std": {"std": stds.tolist(), "eq_16": in_std[0].tolist(), "eq_15": in_std[1].tolist()},
    }
    return Outcome(numbers, tables)


def _minimisers(budget: Budget) -> dict[str, list[float]]:
    """Returns the minimisers of each family, and what they attain, by t."""
    found: dict[str, list[float]] = {"t": torch.linspace(*TIMES, budget.times).tolist()}
    for t in found["t"]:
        row: dict[str, float] = {}
        for name, (family, starts) in STARTS.items():
            best = minimiser(family, starts, BEHAVIOR, t)
            for i, (mean, std) in enumerate(zip(best.means, best.stds, strict=True), start=1):
                row[f"{name}: mean {i}"] = mean.item()
                row[f"{name}: std {i}"] = std.item()
            row[f"{name}: KL"] = divergence(best, BEHAVIOR, t).item()
            if len(best.means) == len(BEHAVIOR.means):
                row[f"{name}: error"] = _error(best)
        for column, value in row.items():
            found.setdefault(column, []).append(value)
    return found


def _error(policy: Mixture) -> float:
    """Returns the largest difference of a parameter from the behavior's."""
    pairs = [
        (policy.weights, BEHAVIOR.weights),
        (policy.means, BEHAVIOR.means),
        (policy.stds, BEHAVIOR.stds),
    ]
    return max((a - b).abs().max().item() for a, b in pairs)


def _trained(budget: Budget, seed: int) -> ScorePrior:
    """Returns a model after a short training."""
    generator = torch.Generator().manual_seed(seed)
    data = BEHAVIOR.prior().draw(10_000, generator=generator).float()
    network = _Network(generator)
    steps = budget.fit_steps
    return fit_prior(network, data, SCHEDULE, steps=steps, learning_rate=3e-3, generator=generator)


def table(outcome: Outcome) -> str:
    """Returns what holds to which accuracy, and what does not."""
    numbers, found = outcome.numbers, outcome.tables["minimisers"]
    off = numbers["proposition_2"]
    told = _told_apart(outcome)
    error = max(e for e, kept in zip(found["two Gaussians: error"], told, strict=True) if kept)
    until = max(t for t, kept in zip(found["t"], told, strict=True) if kept)
    first, last = (f"{found['t'][i]:.2f}" for i in (0, -1))

    def ends(column: str, form: str = ".2f") -> str:
        return " to ".join(f"{found[column][i]:{form}}" for i in (0, -1))

    rows = [
        (f"Two Gaussians: largest error of a parameter, t {first} to {until:.2f}", f"{error:.0e}"),
        (f"Dirac: best action, t {first} to {last}", ends("Dirac: mean 1")),
        (f"Gaussian: best mean, t {first} to {last}", ends("Gaussian: mean 1")),
        (f"Gaussian: best standard deviation, t {first} to {last}", ends("Gaussian: std 1")),
        (f"Gaussian: least divergence (nats), t {first} to {last}", ends("Gaussian: KL", ".0e")),
    ]
    lines = ["| Proposition 1 | Measured |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows), ""]
    actions = ", ".join(off["sigma2"]["variance_ratio"])
    lines.append(
        "| Proposition 2, weighting | Difference of Eq. 15 from Eq. 16 | The same, without the "
        f"baseline | Variance with the baseline over without, at a = {actions} |"
    )
    lines.append("|---|---|---|---|")
    for weighting in WEIGHTINGS:
        row = off[weighting]
        ratios = ", ".join(f"{ratio:.2g}" for ratio in row["variance_ratio"].values())
        lines.append(f"| `{weighting}` | {row['noise']:.0e} | {row['none']:.0e} | {ratios} |")
    lines.append(f"| `sigma2`, a model that is not optimal | {off['not optimal']:.0%} | | |")
    return "\n".join(lines)


def _told_apart(outcome: Outcome) -> np.ndarray:
    """Returns at which t even the best Gaussian is further from the behavior than 1e-4 nats."""
    found = np.array(outcome.tables["minimisers"]["Gaussian: KL"], dtype=float)
    return np.minimum.accumulate(found > CLOSE)


def draw(outcome: Outcome) -> dict[str, Figure]:
    """Returns the four panels."""
    figure = style.figure(12, 9)
    axes = figure.subplots(2, 2)
    _draw_minimisers(axes[0, 0], outcome)
    _draw_divergences(axes[0, 1], outcome)
    _draw_gradients(axes[1, 0], outcome)
    _draw_std(axes[1, 1], outcome)
    for axis in axes.flat:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return {"propositions": figure}


def _draw_minimisers(axis: Axes, outcome: Outcome) -> None:
    found, behavior = outcome.tables["minimisers"], outcome.numbers["behavior"]
    columns = {name: np.array(values, dtype=float) for name, values in found.items()}
    t, mean, std = columns["t"], columns["Gaussian: mean 1"], columns["Gaussian: std 1"]
    axis.fill_between(t, mean - std, mean + std, color=style.SKY, alpha=0.3, linewidth=0)
    axis.plot(t, mean, color=style.BLUE, linestyle="--", label="Gaussian:\nmean ± std")
    told = _told_apart(outcome)
    look: dict[str, Any] = {"marker": "s", "linestyle": "", "markeredgecolor": style.GREEN}
    for i in (1, 2):
        means = columns[f"two Gaussians: mean {i}"]
        labels = ("two Gaussians:\nmeans", "the same, where\nnot told apart")
        filled, hollow = labels if i == 1 else (None, None)
        axis.plot(t[told], means[told], color=style.GREEN, label=filled, **look)
        axis.plot(t[~told], means[~told], color="none", label=hollow, **look)
    action = columns["Dirac: mean 1"]
    axis.plot(t, action, color=style.VERMILION, marker="o", linestyle="", label="Dirac: action")
    axis.axhline(behavior["mean"], color="0.5", linestyle=":", label="mean of the\nbehavior")
    axis.set(xlabel="diffusion time t", ylabel="action a", ylim=(-1.8, 1.8))
    axis.set_title("(a) Proposition 1: the policy that\nminimises KL[$\\pi_t$ || $\\mu_t$]")


def _draw_divergences(axis: Axes, outcome: Outcome) -> None:
    found = outcome.tables["minimisers"]
    looks = zip(STARTS, (style.VERMILION, style.BLUE, style.GREEN), "o^s", strict=True)
    for name, color, marker in looks:
        height = np.clip(np.array(found[f"{name}: KL"], dtype=float), 1e-17, None)
        axis.plot(found["t"], height, color=color, marker=marker, linestyle="", label=name)
    axis.axhline(CLOSE, color="0.5", linestyle=":", label="told apart\nabove this")
    axis.set_yscale("log")
    axis.set(xlabel="diffusion time t", ylabel="least divergence (nats)")
    axis.set_title("(b) what the divergence still says:\nits minimum in each family")


def _draw_gradients(axis: Axes, outcome: Outcome) -> None:
    found = outcome.tables["gradients"]
    actions = found["action"]
    axis.axhline(0, color="0.8", linewidth=0.8)
    axis.plot(actions, found["eq_16"], color=style.BLACK, label="Eq. 16,\nby quadrature")
    axis.plot(
        actions[::3],
        found["eq_15"][::3],
        color=style.BLUE,
        marker="o",
        linestyle="",
        label="Eq. 15,\noptimal model",
    )
    axis.plot(
        actions,
        found["eq_15_trained"],
        color=style.VERMILION,
        linestyle="--",
        label="Eq. 15, a model\nthat is not optimal",
    )
    axis.set(xlabel="action a", ylabel="gradient of the regulariser")
    axis.set_title("(c) Proposition 2 for a Dirac policy\n($w = \\sigma^2$)")


def _draw_std(axis: Axes, outcome: Outcome) -> None:
    found = outcome.tables["std"]
    axis.axhline(0, color="0.8", linewidth=0.8)
    axis.axvline(1, color="0.5", linestyle=":", label="standard deviation\nof the behavior")
    axis.plot(found["std"], found["eq_16"], color=style.BLACK, label="Eq. 16,\nby quadrature")
    axis.plot(
        found["std"],
        found["eq_15"],
        color=style.VERMILION,
        linestyle="--",
        label="Eq. 15 with\nsampled actions",
    )
    axis.set(xlabel="standard deviation of the policy", ylabel="gradient in it")
    axis.set_title("(d) Proposition 2 beyond Dirac policies\n(behavior N(0, 1), $w = \\sigma^2$)")
