"""Each method on one file with one seed: the returns of its policy and what it cost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.scores.rows import Row
from scoreregs_offline_rl import train

__all__ = ["run_cloning", "run_ours"]


def run_ours(protocol: Protocol, data: Path, seed: int, run_dir: Path) -> list[Row]:
    """Returns the rows of the data, the advantage-weighted actor and the policy of Eq. 15."""
    result = train(protocol.config(data, seed), run_dir)
    seconds = {name: report["seconds"] for name, report in result["stages"].items()}
    common = {"file": data.stem, "seed": seed, "health": result["health"]}
    return [
        {"file": data.stem, "seed": seed, "method": "data", "score": result["data_score"]},
        _row("advantage-weighted actor", result["baseline"], common)
        | {"seconds": seconds["critic"] + seconds["baseline"]},
        _row("score-regularised policy", result["policy"], common)
        | {"seconds": seconds["critic"] + seconds["behavior"] + seconds["policy"]},
    ]


def run_cloning(protocol: Protocol, data: Path, seed: int, run_dir: Path, ours: Path) -> list[Row]:
    """Returns the row of cloning, which is the baseline without its weights."""
    config = protocol.config(data, seed, advantage_scale=0.0)
    # The stage is handed a critic, which at this scale has no say.
    config = replace(config, critic=replace(config.critic, weights=str(ours)))
    result = train(config, run_dir, stages=("baseline",))
    row = _row("cloning", result["baseline"], {"file": data.stem, "seed": seed})
    return [row | {"seconds": result["stages"]["baseline"]["seconds"]}]


def _row(method: str, evaluation: dict[str, Any], common: Row) -> Row:
    return common | {
        "method": method,
        "score": evaluation["normalized_score"],
        "returns": evaluation["returns"],
        "environment": evaluation["environment"],
    }
