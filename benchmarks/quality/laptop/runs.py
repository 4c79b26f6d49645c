"""The runs of one file with one seed: the preset, and a clone without weights by return."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.scores.rows import Row, evaluated_row
from scoreregs_offline_rl import (
    AWRStage,
    CloningConfig,
    CloningStage,
    EvaluationResult,
    PolicyStage,
    TrainConfig,
    preset,
    train,
)
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.stages.registry import actors_of, with_needs

__all__ = [
    "HANDED_OVER",
    "METHODS",
    "PLAIN",
    "PRESET",
    "config_of",
    "preset_rows",
    "rows_of",
    "rows_of_result",
]

# Folders of a file and seed: the run of the preset, and a clone of all rows alike.
PRESET, PLAIN = "preset", "cloning"
HANDED_OVER = "handed over by the verdict"
WEIGHTED = "return-weighted cloning"
METHODS = ("data", PLAIN, WEIGHTED, AWRStage.label, PolicyStage.label, HANDED_OVER)
_LABELS = {CloningStage.name: WEIGHTED}


def config_of(data: Path, seed: int, *, episodes: int, minutes: float | None = None) -> TrainConfig:
    """Returns the settings of the preset's run on one file with one seed.

    Args:
        data: the file.
        seed: of the run.
        episodes: of an evaluation.
        minutes: see `TrainConfig`.
    """
    config = replace(preset(str(data), "laptop"), seed=seed, minutes=minutes)
    return replace(config, evaluation=replace(config.evaluation, episodes=episodes))


def rows_of(
    config: TrainConfig, data: Path, folder: Path, *, finished_only: bool = False
) -> list[Row]:
    """Returns the rows of one file with one seed, of what is finished or can be trained.

    Args:
        config: see `config_of`.
        data: the file.
        folder: holds the runs, `preset` and `cloning`.
        finished_only: whether nothing may be trained.
    """
    seed = config.seed
    plain = replace(
        config,
        minutes=None,
        cloning=CloningConfig(
            steps=config.cloning.steps, learning_rate=config.cloning.learning_rate
        ),
    )
    rows = preset_rows(config, data, folder / PRESET, finished_only=finished_only)
    cloned = _result(plain, folder / PLAIN, (CloningStage.name,), finished_only)
    rows += [
        row | {"method": PLAIN}
        for row in rows_of_result(cloned, data, seed, plain)
        if row["method"] == WEIGHTED
    ]
    return rows


def preset_rows(
    config: TrainConfig, data: Path, folder: Path, *, finished_only: bool = False
) -> list[Row]:
    """Returns the rows of the preset's run alone, in a folder of its own; see `rows_of`."""
    result = _result(config, folder, None, finished_only)
    return rows_of_result(result, data, config.seed, config)


def _result(
    config: TrainConfig, folder: Path, stages: tuple[str, ...] | None, finished_only: bool
) -> dict[str, Any] | None:
    if not finished_only:
        return train(config, folder, stages=stages)
    kept = folder / "result.json"
    return load_json(kept) if kept.exists() else None


def rows_of_result(
    result: dict[str, Any] | None, data: Path, seed: int, config: TrainConfig
) -> list[Row]:
    """Returns a row for the data, each policy, and the one that is handed over."""
    if result is None:
        return []
    rows: list[Row] = [
        {"file": data.stem, "seed": seed, "method": "data", "score": result["data_score"]}
    ]
    for name, stage in actors_of(config.stages()).items():
        if result.get(name) is None:
            continue
        used = with_needs(config.stages(), {name}, config)
        seconds = sum(result["stages"][each]["seconds"] for each in used)
        found = EvaluationResult.from_dict(result[name])
        rows.append(evaluated_row(_LABELS.get(name, stage.label), data, seed, found, seconds))
    if result.get("verdict") is not None:
        taken = result["verdict"]["recommended"]
        label = _LABELS.get(taken, PolicyStage.label)
        own = next(row for row in rows if row["method"] == label)
        rows.append(own | {"method": HANDED_OVER, "verdict": result["verdict"]})
    return rows
