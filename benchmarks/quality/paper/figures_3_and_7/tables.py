"""Where the actions end, by density and 1/beta."""

from benchmarks.quality.paper.outcome import Outcome

__all__ = ["table"]


def table(outcome: Outcome) -> str:
    """Returns median log-density and share outside the support by 1/beta, and each model's loss."""
    rows = outcome.numbers["rows"]
    available = sorted({row["inverse_beta"] for row in rows})
    shown = sorted({min(available, key=lambda b: abs(b - near)) for near in (0, 0.02, 0.1, 0.3, 1)})
    titles = [f"1/beta {b:.2g}" for b in shown]
    lines = [
        f"| Density | Of the data | {' | '.join(titles)} | KL of the model |",
        "|---" * (len(shown) + 3) + "|",
    ]
    for model in outcome.numbers["models"]:
        cells = {
            row["inverse_beta"]: (
                f"{row['log_density_quartiles'][1]:.1f} ({row['share_outside']:.0%})"
            )
            for row in rows
            if row["target"] == model["target"]
        }
        found = " | ".join(cells[b] for b in shown)
        divergence = f"{model['divergence']:.3f}"
        lines.append(f"| {model['target']} | {-model['entropy']:.1f} | {found} | {divergence} |")
    return "\n".join(lines)
