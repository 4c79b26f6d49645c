"""Figure 9: the depth of the policy, and a temperature relative to the value's gradient.

The relative form is that of Appendix C: beta over the Euclidean norm of the gradient of Q.
"""

from matplotlib.figure import Figure

from benchmarks.quality.paper.members import draw_members, members_table
from benchmarks.quality.paper.offline_rl import Budget, Runs, Variant, measure_variants
from benchmarks.quality.paper.outcome import Outcome

__all__ = ["FULL", "QUICK", "draw", "measure", "table"]

FULL = Budget()
QUICK = Budget.quick()
RELATIVE_BETAS = (0.02, 0.05)
LAYERS = (2, 4)
SERIES = {"absolute": "absolute beta"} | {
    f"relative {beta:g}": f"relative beta {beta:g}" for beta in RELATIVE_BETAS
}
PLACES = {f"{layers} layers": f"{layers} hidden layers" for layers in LAYERS}


def _variants() -> list[Variant]:
    found: list[Variant] = []
    for layers, place in zip(LAYERS, PLACES, strict=True):
        # The default is left unsaid: its policies are those of the shared sweep.
        deep = {} if layers == LAYERS[0] else {"layers": layers}
        found.append(Variant("absolute", place, deep))
        found += [
            Variant(f"relative {beta:g}", place, {**deep, "normalize": "l2"}, beta)
            for beta in RELATIVE_BETAS
        ]
    return found


def measure(budget: Budget, seed: int, runs: Runs) -> Outcome:
    """Returns what policies of both depths reach, with both kinds of temperature."""
    return measure_variants(budget, seed, runs, _variants())


def table(outcome: Outcome) -> str:
    """Returns scores, and shares outside the support, by depth and kind of temperature."""
    return members_table(outcome, SERIES, PLACES)


def draw(outcome: Outcome) -> dict[str, Figure]:
    """Returns scores, and shares outside the support, by depth and kind of temperature."""
    return {"figure-9": draw_members(outcome, SERIES, PLACES, "depth of the policy")}
