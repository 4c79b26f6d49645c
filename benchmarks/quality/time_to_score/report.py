"""The time to a score as a table and a picture, from the results alone."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality.paper import style
from benchmarks.quality.paper.outcome import Outcome
from benchmarks.quality.time_to_score.settings import OURS

__all__ = ["draw", "table"]


def table(outcome: Outcome) -> str:
    """Returns for each setting its seconds, its scores and when the mean first reaches a score."""
    goals = outcome.numbers["goals"]
    heads = ["Setting", "Critic (ms)", "Behavior (ms)", "Policy (ms)", "In all (s)", "At the end"]
    heads += [f"To {goal:g} (s)" for goal in goals]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for label, seconds in outcome.numbers["step_seconds"].items():
        times, scores = _curve(outcome, label)
        mean, last = scores.mean(0), scores[:, -1]
        cells = [label, *(f"{1000 * seconds[name]:.1f}" for name in seconds), f"{times[-1]:.0f}"]
        cells.append(f"{mean[-1]:.1f} ({last.min():.1f} to {last.max():.1f})")
        for goal in goals:
            reached = times[mean >= goal]
            cells.append(f"{reached[0]:.0f}" if len(reached) else "not reached")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _curve(outcome: Outcome, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns seconds since the start, (points,), and scores, (seeds, points)."""
    rows, steps = outcome.tables["curves"], outcome.numbers["steps"]
    chosen = np.array(rows["setting"]) == label
    seeds = len(set(np.array(rows["seed"])[chosen]))
    found = (np.array(rows[name])[chosen].reshape(seeds, -1) for name in ("step", "score"))
    at, scores = found
    each = outcome.numbers["step_seconds"][label]
    before = sum(steps[name] * each[name] for name in ("critic", "behavior"))
    return before + at[0] * each["policy"], scores


def draw(outcome: Outcome) -> Figure:
    """Returns scores by seconds: left the way from the paper's code, right what follows it."""
    labels = list(outcome.numbers["step_seconds"])
    middle = labels.index(OURS)
    figure = style.figure(11, 5.4)
    panels = figure.subplots(1, 2, sharey=True)
    for axis, chosen in zip(panels, (labels[: middle + 1], labels[middle:]), strict=True):
        _draw_curves(axis, outcome, chosen, labels)
        axis.axhline(outcome.numbers["data"], color="0.35", linestyle=(0, (1, 1)), label="the data")
        axis.set(xlabel="seconds of training, all stages")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    panels[0].set(ylabel="normalised score", title="from the paper's code to ours")
    panels[1].set(title="settings of the policy stage")
    return figure


def _draw_curves(axis: Axes, outcome: Outcome, labels: Sequence[str], order: Sequence[str]) -> None:
    for label in labels:
        times, scores = _curve(outcome, label)
        index = list(order).index(label)
        color = style.COLORS[index]
        axis.fill_between(times, scores.min(0), scores.max(0), color=color, alpha=0.12, linewidth=0)
        axis.plot(
            times,
            scores.mean(0),
            color=color,
            marker=style.MARKERS[index],
            linestyle=style.LINES[index],
            label=label,
        )
