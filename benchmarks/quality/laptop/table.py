"""The scores as a table, and how often the verdict was right."""

from collections import defaultdict
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from benchmarks.quality.laptop.beside import LABELS
from benchmarks.quality.laptop.runs import HANDED_OVER, METHODS, PLAIN, WEIGHTED
from benchmarks.quality.scores.rows import Row
from scoreregs_offline_rl import PolicyStage
from scoreregs_offline_rl.evaluation.statistics import bootstrap_interval, interquartile_mean

__all__ = ["improvement", "markdown", "verdicts"]


def markdown(rows: list[Row]) -> str:
    """Returns a Markdown table: interquartile mean over seeds, its interval, and how many seeds.

    Beside it stands the probability that a run of what is handed over is better than a plain
    clone, over all pairs.

    Example:
        >>> print(markdown([{"file": "f", "method": "data", "score": 1.0}]).splitlines()[-1])
        | f | 1.0 | – | – | – | – | – | – |
    """
    scores = _scores(rows)
    beside = [label for label in LABELS if any(row["method"] == label for row in rows)]
    methods = [*METHODS, *beside]
    heads = [method[0].upper() + method[1:] for method in methods]
    lines = [
        f"| File | {' | '.join(heads)} | Better than cloning |",
        "|---" * (len(methods) + 2) + "|",
    ]
    for file in dict.fromkeys(row["file"] for row in rows):
        own = [scores[file, method] for method in methods]
        chance = improvement(scores[file, HANDED_OVER], scores[file, PLAIN])
        told = "–" if chance is None else f"{chance:.0%}"
        lines.append(f"| {file} | {' | '.join(map(_cell, own))} | {told} |")
    return "\n".join(lines)


def improvement(ours: list[float], theirs: list[float]) -> float | None:
    """Returns the probability that a run of ours is better than one of theirs; half for a tie.

    Example:
        >>> improvement([2.0, 3.0], [1.0, 2.0]), improvement([], [1.0])
        (0.875, None)
    """
    if not ours or not theirs:
        return None
    return float(mannwhitneyu(ours, theirs).statistic) / (len(ours) * len(theirs))


def verdicts(rows: list[Row]) -> dict[str, Any]:
    """Returns how often a policy was called no worse than its clone, and how often it was worse.

    Worse: the interval of the difference of the mean returns, over episodes of both, lies wholly
    below 0; `lower` counts every lower mean. Both are beside the clone of the run, whose rows are
    weighted by return; `worse than plain` is beside the one that clones all rows alike.
    """
    by_run: dict[tuple[str, int], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        by_run[row["file"], row["seed"]][row["method"]] = row
    found = {"runs": 0, "ok": 0, "ok and lower": 0, "ok and worse": 0, "refused": 0}
    found |= {"refused and lower": 0, "ok and worse than plain": 0}
    for run in by_run.values():
        if HANDED_OVER not in run:
            continue
        policy, clone = run[PolicyStage.label], run[WEIGHTED]
        lower = policy["score"] < clone["score"]
        ok = run[HANDED_OVER]["verdict"]["ok"]
        found["runs"] += 1
        found["ok" if ok else "refused"] += 1
        found["ok and lower" if ok else "refused and lower"] += lower
        found["ok and worse"] += ok and _worse(policy["returns"], clone["returns"])
        if PLAIN in run:
            plain = run[PLAIN]["returns"]
            found["ok and worse than plain"] += ok and _worse(policy["returns"], plain)
    return found


def _worse(own: list[float], other: list[float]) -> bool:
    """Returns whether the bootstrap interval of a difference of means lies wholly below 0."""
    rng = np.random.default_rng(0)
    drawn = [rng.choice(r, (2000, len(r))).mean(1) for r in (own, other)]
    return bool(np.quantile(drawn[0] - drawn[1], 0.975) < 0)


def _scores(rows: list[Row]) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        found[row["file"], row["method"]].append(row["score"])
    return found


def _cell(scores: list[float]) -> str:
    if not scores:
        return "–"
    middle = f"{float(interquartile_mean(np.asarray(scores))):.1f}"
    if len(scores) == 1 or np.ptp(scores) < 0.05:
        return middle
    interval = bootstrap_interval([scores])
    return f"{middle} ({interval.low:.1f} to {interval.high:.1f}; {len(scores)})"
