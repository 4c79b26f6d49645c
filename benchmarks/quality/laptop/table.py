"""The scores as a table, and how often the verdict was right."""

from collections import defaultdict
from typing import Any

import numpy as np
from scipy.stats import bootstrap, mannwhitneyu

from benchmarks.quality.laptop.beside import LABELS
from benchmarks.quality.laptop.runs import HANDED_OVER, METHODS, PLAIN, WEIGHTED
from benchmarks.quality.scores.rows import Row
from scoreregs_offline_rl import PolicyStage
from scoreregs_offline_rl.evaluation.statistics import interquartile_mean

__all__ = ["differences", "improvement", "markdown", "verdicts"]


def markdown(rows: list[Row]) -> str:
    """Returns a Markdown table: interquartile mean over seeds, its interval, and how many seeds.

    Beside it stands the probability that a run of what is handed over is better than a plain
    clone, over all pairs. The last row is of all runs of all files, drawn anew within each file.

    Example:
        >>> print(markdown([{"file": "f", "method": "data", "score": 1.0}]).splitlines()[-2])
        | f | 1.0 | – | – | – | – | – | – |
    """
    scores, methods = _scores(rows), _methods(rows)
    files = list(dict.fromkeys(row["file"] for row in rows))
    lines = _head(methods, "Better than cloning")
    for file in files:
        # Of the data there is one number, whatever the seed.
        own = [_cell([scores[file, m][: 1 if m == METHODS[0] else None]]) for m in methods]
        chance = improvement(scores[file, HANDED_OVER], scores[file, PLAIN])
        lines.append(_line(file, [*own, "–" if chance is None else f"{chance:.0%}"]))
    of_all = [_cell([scores[file, method] for file in files]) for method in methods]
    return "\n".join([*lines, _line("all files", [*of_all, ""])])


def differences(rows: list[Row]) -> str:
    """Returns a Markdown table of what is handed over less each method, with its interval.

    At least as good is a method whose interval is not wholly below 0; + marks one wholly above.

    Example:
        >>> scores = [(HANDED_OVER, 3.0), (HANDED_OVER, 4.0), (PLAIN, 1.0), (PLAIN, 1.0)]
        >>> rows = [{"file": "f", "method": name, "score": score} for name, score in scores]
        >>> print(differences(rows).splitlines()[-1])
        | f | – | 2.5 (2.0 to 3.0) + | – | – | – |
    """
    scores, methods = _scores(rows), [m for m in _methods(rows) if m != HANDED_OVER]
    lines = _head(methods)
    for file in dict.fromkeys(row["file"] for row in rows):
        ours = scores[file, HANDED_OVER]
        lines.append(_line(file, [_difference(ours, scores[file, m]) for m in methods]))
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


def _methods(rows: list[Row]) -> list[str]:
    return [*METHODS, *(label for label in LABELS if any(row["method"] == label for row in rows))]


def _head(methods: list[str], *more: str) -> list[str]:
    heads = ["File", *(method[0].upper() + method[1:] for method in methods), *more]
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]


def _line(file: str, cells: list[str]) -> str:
    return f"| {' | '.join([file, *cells])} |"


def _cell(strata: list[list[float]]) -> str:
    """Returns the interquartile mean of all scores, drawn anew within each stratum."""
    if not all(strata):
        return "–"
    middle = f"{_of_all(*map(np.asarray, strata)):.1f}"
    count = sum(map(len, strata))
    if min(map(len, strata)) == 1 or max(map(np.ptp, strata)) < 0.05:
        return middle if count == len(strata) else f"{middle} ({count})"
    low, high = _interval(strata, _of_all)
    return f"{middle} ({low:.1f} to {high:.1f}; {count})"


def _difference(ours: list[float], theirs: list[float]) -> str:
    if not ours or not theirs:
        return "–"
    middle = f"{_less(np.asarray(ours), np.asarray(theirs)):.1f}"
    if min(len(ours), len(theirs)) == 1:
        return middle
    low, high = _interval([ours, theirs], _less)
    sign = " +" if low > 0 else " -" if high < 0 else ""
    return f"{middle} ({low:.1f} to {high:.1f}){sign}"


def _of_all(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    return interquartile_mean(np.concatenate(samples, axis=axis))


def _less(ours: np.ndarray, theirs: np.ndarray, axis: int = -1) -> np.ndarray:
    return _of_all(ours, axis=axis) - _of_all(theirs, axis=axis)


def _interval(strata: list[list[float]], statistic: Any) -> tuple[float, float]:
    """Returns the percentile bootstrap interval of 95 %, as in Agarwal et al. (2021)."""
    found = bootstrap(
        strata, statistic, n_resamples=10_000, vectorized=True, method="percentile", rng=0
    ).confidence_interval
    return found.low, found.high
