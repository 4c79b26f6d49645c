"""The library's methods on one file with one seed: stages of one run, a row for each policy."""

from pathlib import Path

from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.rows import Row, evaluated_row
from scoreregs_offline_rl import EvaluationResult, train
from scoreregs_offline_rl.stages.registry import actors_of, with_needs

__all__ = ["run_ours"]


def run_ours(protocol: Protocol, data: Path, seed: int, run_dir: Path) -> list[Row]:
    """Returns the row of the data, and of every policy with what the checks of its stages found.

    A policy's time is that of its stage and of those that it builds on.
    """
    config = protocol.config(data, seed)
    stages = config.stages()
    result = train(config, run_dir, stages=tuple(stages))
    rows: list[Row] = [
        {"file": data.stem, "seed": seed, "method": "data", "score": result["data_score"]}
    ]
    for name, stage in actors_of(stages).items():
        used = with_needs(stages, {name}, config)
        seconds = sum(result["stages"][each]["seconds"] for each in used)
        found = EvaluationResult(**result[name])
        health = {each: result["health"][each] for each in used if each in result["health"]}
        row = evaluated_row(stage.label, data, seed, found, seconds)
        rows.append(row | {"health": health})
    return rows
