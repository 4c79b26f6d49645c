"""Minimisers and gradients, four panels."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality.paper import style
from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.paper.propositions.proposition_1 import STARTS
from benchmarks.quality.paper.propositions.tables import CLOSE, told_apart

__all__ = ["draw"]


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
    told = told_apart(outcome)
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
