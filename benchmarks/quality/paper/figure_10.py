"""Figure 10: the temperature of Eq. 15, all that the paper searches for locomotion."""

from matplotlib.figure import Figure

from benchmarks.quality.paper.members import draw_members, members_table
from benchmarks.quality.paper.offline_rl import Budget, Runs, Variant, measure_variants
from benchmarks.quality.paper.outcome import Outcome
from scoreregs_offline_rl.runs.grid import PAPER_BETAS

__all__ = ["FULL", "QUICK", "draw", "measure", "table"]

FULL = Budget()
QUICK = Budget.quick()
SERIES = {"policy": "score-regularised policy"}
VARIANTS = [Variant("policy", f"beta {beta:g}", beta=beta) for beta in PAPER_BETAS]
PLACES = {variant.place: variant.place for variant in VARIANTS}
TICKS = {variant.place: f"{variant.beta:g}" for variant in VARIANTS}


def measure(budget: Budget, seed: int, runs: Runs) -> Outcome:
    """Returns what policies of every temperature reach."""
    return measure_variants(budget, seed, runs, VARIANTS)


def table(outcome: Outcome) -> str:
    """Returns scores, and shares outside the support, by temperature."""
    return members_table(outcome, SERIES, PLACES)


def draw(outcome: Outcome) -> dict[str, Figure]:
    """Returns scores, and shares outside the support, by temperature."""
    return {"figure-10": draw_members(outcome, SERIES, TICKS, "temperature $\\beta$")}
