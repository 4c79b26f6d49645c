"""Figure 6: the weighting over time and the subtracted baseline of Eq. 15.

Weightings are ordered from those that hear the early times, where the score is that of the data, to
those that hear the late ones, where it is that of noise. The two ends are single times with a
weight of 1, as narrow a range as the configuration takes.
"""

from matplotlib.figure import Figure

from benchmarks.quality.paper.members import draw_members, members_table
from benchmarks.quality.paper.offline_rl import Budget, Runs, Variant, measure_variants
from benchmarks.quality.paper.outcome import Outcome

__all__ = ["FULL", "QUICK", "draw", "measure", "table"]

FULL = Budget()
QUICK = Budget.quick()
SERIES = {"noise": "noise baseline", "none": "no baseline"}
PLACES = {
    "early": "t = 0.02",
    "alpha_over_sigma": "alpha / sigma",
    "uniform": "1",
    "sigma2": "sigma^2",
    "late": "t = 0.98",
}
TICKS = {
    "early": "$\\delta(t - 0.02)$",
    "alpha_over_sigma": "$\\alpha_t / \\sigma_t$",
    "uniform": "1",
    "sigma2": "$\\sigma_t^2$",
    "late": "$\\delta(t - 0.98)$",
}
VARIANTS = (
    Variant("noise", "early", {"times": (0.02, 0.021), "weighting": "uniform"}),
    Variant("noise", "alpha_over_sigma", {"weighting": "alpha_over_sigma"}),
    Variant("noise", "uniform", {"weighting": "uniform"}),
    Variant("noise", "sigma2"),
    Variant("noise", "late", {"times": (0.979, 0.98), "weighting": "uniform"}),
    Variant("none", "alpha_over_sigma", {"weighting": "alpha_over_sigma", "baseline": "none"}),
    Variant("none", "uniform", {"weighting": "uniform", "baseline": "none"}),
    Variant("none", "sigma2", {"baseline": "none"}),
)


def measure(budget: Budget, seed: int, runs: Runs) -> Outcome:
    """Returns what every weighting reaches, with the baseline and without it."""
    return measure_variants(budget, seed, runs, VARIANTS)


def table(outcome: Outcome) -> str:
    """Returns scores, and shares outside the support, by weighting and baseline."""
    return members_table(outcome, SERIES, PLACES)


def draw(outcome: Outcome) -> dict[str, Figure]:
    """Returns scores, and shares outside the support, by weighting and baseline."""
    return {"figure-6": draw_members(outcome, SERIES, TICKS, "weight $w(t)$")}
