"""What holds to which accuracy, in words and numbers."""

import numpy as np

from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.paper.propositions.proposition_2 import WEIGHTINGS

__all__ = ["CLOSE", "table", "told_apart"]

# A divergence, in nats, below which a search cannot tell policies apart.
CLOSE = 1e-4


def table(outcome: Outcome) -> str:
    """Returns what holds to which accuracy, and what does not."""
    numbers, found = outcome.numbers, outcome.tables["minimisers"]
    off = numbers["proposition_2"]
    told = told_apart(outcome)
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


def told_apart(outcome: Outcome) -> np.ndarray:
    """Returns at which t even the best Gaussian is further from the behavior than 1e-4 nats."""
    found = np.array(outcome.tables["minimisers"]["Gaussian: KL"], dtype=float)
    return np.minimum.accumulate(found > CLOSE)
