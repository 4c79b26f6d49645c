"""Score by step of the policy stage, of each setting with each seed."""

from pathlib import Path

from benchmarks.quality.paper.offline_rl import SharedModels, Variant
from benchmarks.quality.scores.paper import run_paper
from benchmarks.quality.scores.protocol import Protocol
from benchmarks.quality.time_to_score.settings import PAPER_CODE, Setting
from scoreregs_offline_rl import Transitions
from scoreregs_offline_rl.files import load_json, save_json

__all__ = ["COLUMNS", "our_curves", "paper_curves"]

COLUMNS = ("setting", "seed", "step", "score")
Row = tuple[str, int, int, float]


def our_curves(
    setting: Setting, data: Transitions, seeds: tuple[int, ...], folder: Path
) -> list[Row]:
    """Returns the rows of a setting; what is finished in the folder is not trained again."""
    models = SharedModels(setting.protocol, data.source, data, seeds, folder / setting.models)
    ((_, _, table),) = models.extract([Variant("", "", setting.policy)])
    steps, scores = table.curves["evaluated_step"], table.curves["score"]
    return [
        (setting.label, seed, int(step), float(score))
        for row, seed in enumerate(seeds)
        for step, score in zip(steps, scores[:, row, 0], strict=True)
    ]


def paper_curves(
    protocol: Protocol, data: Transitions, seeds: tuple[int, ...], folder: Path, checkout: Path
) -> list[Row]:
    """Returns the rows of the paper's code, likewise."""
    rows: list[Row] = []
    for seed in seeds:
        path = folder / f"paper-{seed}.json"
        if not path.exists():
            (row,) = run_paper(protocol, Path(data.source), seed, checkout)
            save_json(path, row["curve"])
        curve = load_json(path)
        rows += [
            (PAPER_CODE, seed, step, score)
            for step, score in zip(curve["step"], curve["score"], strict=True)
        ]
    return rows
