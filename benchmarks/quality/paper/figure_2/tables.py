"""Share outside the support, log-density and value, by policy and temperature."""

from benchmarks.quality.paper.figure_2.bandit import METHODS
from benchmarks.quality.paper.outcome import Outcome

__all__ = ["table"]


def table(outcome: Outcome) -> str:
    """Returns share outside the support, median log-density and mean value, by beta."""
    rows = outcome.numbers["rows"]
    betas = sorted({row["beta"] for row in rows})
    lines = [
        f"| Outside / log-density / Q | {' | '.join(f'beta {b:g}' for b in betas)} |",
        "|---" * (len(betas) + 1) + "|",
    ]
    for method in METHODS:
        cells = {
            row["beta"]: (
                f"{row['share_outside']:.1%} / {row['median_log_density']:.1f} / "
                f"{row['mean_value']:.2f}"
            )
            for row in rows
            if row["method"] == method
        }
        name = method[0].upper() + method[1:]
        lines.append(f"| {name} | {' | '.join(cells[beta] for beta in betas)} |")
    return "\n".join(lines)
