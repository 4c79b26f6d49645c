"""Comparison of finished runs: several seeds of several tasks, with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.configuration import from_dict, to_dict
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult
from scoreregs_offline_rl.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    interquartile_mean,
)
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.resolution import complete
from scoreregs_offline_rl.stages.former import current_config, current_result
from scoreregs_offline_rl.stages.registry import actors_of, known_name, label_of
from scoreregs_offline_rl.tasks import data_label

__all__ = ["FinishedRun", "RunComparison", "Summary", "compare_runs"]

DATA = "data"
"""The method that is the data itself."""

# Settings that do not decide what a run learns; the data is told by its name.
_IRRELEVANT = {
    "seed",
    "data",
    "minimum_std",
    "evaluation.episodes",
    "evaluation.seed",
    "evaluation.every",
    "loading.mirrors",
}
_NOTE = (
    "{unit}. IQM: mean of the middle half of the scores. Interval: stratified bootstrap of the "
    "IQM over seeds; marked e: of the mean over the episodes of the only seed, which says nothing "
    "about other seeds."
)


@dataclass(frozen=True)
class FinishedRun:
    """One training run.

    Attributes:
        folder: its directory.
        task: name of its data.
        settings: what it was told, seed and technicalities apart, by dotted name.
        seed: its seed.
        evaluations: of the policies, by the name of their stage.
        labels: what people call these.
        data_return: mean return of the data.
        data_score: its normalised score, where the task has reference returns.
        metrics: the lines of each stage's `metrics.jsonl`, where there is one.
    """

    folder: Path
    task: str
    settings: dict[str, str]
    seed: int
    evaluations: dict[str, EvaluationResult]
    labels: dict[str, str]
    data_return: float
    data_score: float | None
    metrics: dict[str, list[dict[str, float]]]

    @classmethod
    def load(cls, folder: Path) -> FinishedRun:
        """Returns a finished run, read from its directory.

        Raises:
            RunError: it holds no finished run.
        """
        if not (folder / "result.json").exists():
            raise RunError(
                f"got {folder} without a result.json, expected the directory of a finished run: "
                "let `train` go on there until it ends"
            )
        config, stages = load_json(folder / "config.json"), TrainConfig.stages()
        result = current_result(load_json(folder / "result.json"), stages)
        labels = {name: label_of(name) for name in reversed(actors_of(stages))}
        labels = {**result.get("labels", {}), **labels}
        if not any(result.get(stage) for stage in labels):
            raise RunError(
                f"got {folder}, whose policies were not evaluated, expected scores: let `train` go "
                "on there with --evaluation.environment, or see `report`, `offline_figures` and "
                "`diagnose`, which need no simulator"
            )
        try:
            return cls(
                folder=folder,
                task=data_label(config["data"]),
                settings=_settings(config, set(result.get("stages", stages))) | _chosen(folder),
                seed=config["seed"],
                evaluations={
                    name: EvaluationResult.from_dict(result[name])
                    for name in labels
                    if result.get(name) is not None
                },
                labels=labels,
                data_return=result["data_return"],
                data_score=result["data_score"],
                metrics=_load_metrics(folder),
            )
        except (KeyError, TypeError) as error:
            raise RunError(f"got a result without {error} in {folder}: train it again") from error

    def score(self, method: str) -> float | None:
        """Returns the normalised score of a method, or its return where there is none."""
        if method == DATA:
            return self.data_return if self.data_score is None else self.data_score
        if method not in self.evaluations:
            return None
        evaluation = self.evaluations[method]
        score = evaluation.normalized_score
        return evaluation.mean if score is None else score

    def episode_interval(self, method: str) -> Interval | None:
        """Returns the interval of the score over the run's own episodes, 95 %."""
        if method not in self.evaluations:
            return None
        evaluation = self.evaluations[method]
        known = evaluation.normalized_score is not None
        found = evaluation.normalized_interval if known else evaluation.interval
        return None if found is None else Interval(*found, confidence=0.95)


@dataclass(frozen=True)
class Summary:
    """The scores of one method on one task, or on all of them.

    Attributes:
        task: the task, with the settings that tell it apart, or `all tasks`.
        method: name of the stage that trained the policy, or `data`.
        label: what people call it.
        scores: of each run, in the order of the seeds: normalised, or returns.
        normalized: which of the two.
        mean: their mean.
        iqm: their interquartile mean.
        interval: of the interquartile mean over seeds; of a single seed's mean over episodes.
    """

    task: str
    method: str
    label: str
    scores: tuple[float, ...]
    normalized: bool
    mean: float
    iqm: float
    interval: Interval | None


@named_calls
@dataclass(frozen=True)
class RunComparison:
    """Finished runs, by task.

    Attributes:
        runs: the runs of each task, by seed.
        rows: a summary of each method on each task.
        overall: a summary of each method on all tasks, where there are several, each with one
            configuration and normalised scores.
    """

    runs: dict[str, tuple[FinishedRun, ...]]
    rows: tuple[Summary, ...]
    overall: tuple[Summary, ...]

    def table(self) -> str:
        """Returns the comparison as a Markdown table, with a note on its intervals."""
        header = ["task", "method", "runs", "mean", "IQM", "95 % interval"]
        cells = [header, *(_cells(row) for row in (*self.rows, *self.overall))]
        widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
        lines = [_line(line, widths) for line in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        unit = "Normalised scores"
        if not all(row.normalized for row in self.rows):
            unit += "; marked r: returns"
        return "\n".join([*lines, "", _NOTE.format(unit=unit)])


@named_calls
def compare_runs(folders: Sequence[str | Path]) -> RunComparison:
    """Returns finished runs side by side; those of one task and configuration are its seeds.

    Args:
        folders: run directories, at least one.

    Raises:
        RunError: a directory holds no finished run.
        ArgumentError: there is none, or one seed comes twice, which would make intervals too short.
    """
    if not folders:
        raise ArgumentError("got no run directories, expected at least one")
    groups = _group([FinishedRun.load(Path(folder)) for folder in folders])
    methods = _methods(groups)
    rows = [_summarize(task, method, [runs]) for task, runs in groups.items() for method in methods]
    tasks = {run.task for runs in groups.values() for run in runs}
    known = all(run.data_score is not None for runs in groups.values() for run in runs)
    # Two configurations of one task are compared with each other, not averaged.
    overall = (
        [_summarize("all tasks", method, list(groups.values())) for method in methods]
        if known and 1 < len(tasks) == len(groups)
        else []
    )
    return RunComparison(
        groups,
        tuple(row for row in rows if row is not None),
        tuple(row for row in overall if row is not None),
    )


def _group(runs: list[FinishedRun]) -> dict[str, tuple[FinishedRun, ...]]:
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        alike = {json.dumps(other.settings) for other in runs if other.task == run.task}
        label = run.task
        if len(alike) > 1:
            others = [json.loads(settings) for settings in alike]
            varied = [n for n in run.settings if len({other.get(n) for other in others}) > 1]
            label += f" ({', '.join(f'{name} {run.settings[name]}' for name in varied)})"
        same = [other for other in groups.get(label, []) if other.seed == run.seed]
        if same:
            raise ArgumentError(
                f"got seed {run.seed} of {label} twice, in {same[0].folder} and {run.folder}, "
                "expected each seed once: leave one out"
            )
        groups.setdefault(label, []).append(run)
    return {
        label: tuple(sorted(groups[label], key=lambda run: run.seed)) for label in sorted(groups)
    }


def _methods(groups: dict[str, tuple[FinishedRun, ...]]) -> list[str]:
    """Returns the stages that some run has a policy of, Eq. 15's first, and the data."""
    runs = [run for group in groups.values() for run in group]
    names = dict.fromkeys(name for run in runs for name in run.labels if name in run.evaluations)
    order = [*reversed(actors_of(TrainConfig.stages())), *names]
    return [name for name in dict.fromkeys(order) if name in names] + [DATA]


def _settings(config: dict[str, Any], trained: set[str]) -> dict[str, str]:
    """Returns what decides what a run learns, as text by dotted name.

    What an older version did not write is the default; stages that were not trained do not count.
    """
    stages = TrainConfig.stages()
    content = current_config(config, stages)
    own = {field.name for field in fields(TrainConfig)}
    known = {name: value for name, value in content.items() if name in own}
    read = to_dict(complete(from_dict(TrainConfig, known)))
    flat = _flatten({**content, **read})
    # Steps of a given time are the machine's; seeds of one time belong together.
    measured = {name for name in flat if name.endswith(".steps") and flat["minutes"]}
    return {
        name: str(value)
        for name, value in flat.items()
        if name not in _IRRELEVANT | measured
        and not name.startswith("trainer.")
        and (name.split(".")[0] not in stages or name.split(".")[0] in trained)
    }


def _chosen(folder: Path) -> dict[str, str]:
    """Returns the temperature where the run has chosen it: seeds that choose belong together."""
    chosen = RunDirectory(folder).chosen_beta()
    return {} if chosen is None else {"beta": "chosen"}


def _summarize(task: str, method: str, strata: list[tuple[FinishedRun, ...]]) -> Summary | None:
    scores: list[list[float]] = []
    for runs in strata:
        # Every seed has the same data.
        found = [run.score(method) for run in (runs[:1] if method == DATA else runs)]
        scores.append([score for score in found if score is not None])
        if len(scores[-1]) < len(found):
            return None
    flat = np.concatenate(scores)
    interval = None
    if method != DATA and min(map(len, scores)) > 1:
        interval = bootstrap_interval(scores)
    elif len(strata) == 1:
        interval = strata[0][0].episode_interval(method)
    return Summary(
        task=task,
        method=method,
        label=method if method == DATA else strata[0][0].labels[method],
        scores=tuple(flat.tolist()),
        normalized=strata[0][0].data_score is not None,
        mean=float(flat.mean()),
        iqm=float(interquartile_mean(flat)),
        interval=interval,
    )


def _flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _load_metrics(folder: Path) -> dict[str, list[dict[str, float]]]:
    found, stages = {}, TrainConfig.stages()
    for path in sorted(folder.glob("*/metrics.jsonl")):
        lines = path.read_text().splitlines()
        name = known_name(stages, path.parent.name) or path.parent.name
        try:
            found[name] = [json.loads(line) for line in lines]
        except ValueError as error:
            raise RunError(f"cannot read {path}: {error}") from error
    return found


def _cells(row: Summary) -> list[str]:
    mark = "" if row.normalized else " r"
    interval = "" if row.interval is None else f"{row.interval.low:.1f} to {row.interval.high:.1f}"
    if interval and len(row.scores) == 1:
        interval += " e"
    runs = "" if row.method == DATA else str(len(row.scores))
    iqm = "" if row.method == DATA and row.task != "all tasks" else f"{row.iqm:.1f}"
    return [row.task, row.label, runs, f"{row.mean:.1f}{mark}", iqm, interval]


def _line(cells: list[str], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"
