"""Figure 8: critics that diverge, and the check that notices them while they train.

Rewards and discount bound every return, and so every true Q. The first setting of implicit
Q-learning is meant to leave that bound: an expectile near 1, fast learning, and targets from the
newest Q in place of its average. Each other setting takes back one of the three.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality.paper import style
from benchmarks.quality.paper.outcome import Outcome
from scoreregs_offline_rl import CriticConfig, TrainConfig, TrainerConfig, load_data, train
from scoreregs_offline_rl.training import monitor

__all__ = ["FULL", "QUICK", "Budget", "draw", "measure", "table"]

DATA = "pendulum-swingup"
DIVERGING = CriticConfig(expectile=0.99, learning_rate=1e-2, target_rate=1.0, width=64)
SETTINGS: dict[str, dict[str, float]] = {
    "expectile 0.99, learning rate 0.01, no average": {},
    "expectile 0.7": {"expectile": 0.7},
    "learning rate 0.0003": {"learning_rate": 3e-4},
    "Q averaged at rate 0.005": {"target_rate": 0.005},
}


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Attributes:
        seeds: of each setting.
        steps: of each critic.
        log_every: steps between two checks.
    """

    seeds: int = 3
    steps: int = 4000
    log_every: int = 50


FULL = Budget()
QUICK = Budget(2, 4, 2)


def measure(budget: Budget, seed: int) -> Outcome:
    """Returns the largest |Q| of every critic while it trains, and what the check logs of it."""
    data = load_data(DATA)
    names = ("setting", "seed", "step", "largest_q")
    curves: dict[str, list[Any]] = {name: [] for name in names}
    rows: list[dict[str, Any]] = []
    limit = 0.0
    for setting, changes in SETTINGS.items():
        for its in range(seed, seed + budget.seeds):
            config = _config(budget, its, changes)
            with TemporaryDirectory() as folder, _warnings() as warnings:
                result = train(config, folder, stages=("critic",), data=data)
                lines = _lines(Path(folder) / "critic" / "metrics.jsonl")
            # The check is not due at every line.
            lines = [line for line in lines if "health_limit" in line]
            limit = lines[0]["health_limit"]
            warning = next(iter(warnings), None)
            rows.append(
                {
                    "setting": setting,
                    "seed": its,
                    "noticed_at": None if warning is None else _step(warning),
                    "warning": warning,
                    "largest_q": result["health"]["critic"]["measured"],
                }
            )
            for line in lines:
                point = (setting, its, line["step"], line["health_measured"])
                for name, value in zip(names, point, strict=True):
                    curves[name].append(value)
    return Outcome({"limit": limit, "rows": rows}, {"curves": curves})


def _config(budget: Budget, seed: int, changes: Mapping[str, Any]) -> TrainConfig:
    return TrainConfig(
        data=DATA,
        seed=seed,
        critic=replace(DIVERGING, steps=budget.steps, **changes),
        trainer=TrainerConfig(log_every=budget.log_every),
    )


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """A context with the lines that the check of the critic warns with, as they are logged."""
    found: list[str] = []
    logger = logging.getLogger(monitor.__name__)

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Keep(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def _step(warning: str) -> int:
    found = re.match(r"critic stage, step (\d+): ", warning)
    if found is None:
        raise ValueError(f"got {warning!r}, expected a warning of the critic stage with its step")
    return int(found[1])


def _lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def table(outcome: Outcome) -> str:
    """Returns for every setting how many critics were noticed, when, and where they ended."""
    lines = ["| Critic | Noticed | At step | Largest Q at the end |", "|---|---|---|---|"]
    for setting in SETTINGS:
        rows = [row for row in outcome.numbers["rows"] if row["setting"] == setting]
        steps = [row["noticed_at"] for row in rows if row["noticed_at"] is not None]
        when = ", ".join(f"{step:g}" for step in steps) or "–"
        ends = ", ".join(f"{row['largest_q']:.3g}" for row in rows)
        lines.append(f"| {setting} | {len(steps)} of {len(rows)} | {when} | {ends} |")
    said = (row["warning"] for row in outcome.numbers["rows"] if row["warning"] is not None)
    limit = f"Rewards and discount allow {outcome.numbers['limit']:.4g}. Logged of the first:"
    return "\n".join([*lines, "", limit, "", f"> {next(said, 'nothing')}"])


def draw(outcome: Outcome) -> dict[str, Figure]:
    """Returns the largest |Q| by step on a logarithmic scale, and where it was warned of."""
    figure = style.figure(9, 4.8)
    axis = figure.subplots()
    curves = {name: np.array(column) for name, column in outcome.tables["curves"].items()}
    looks = zip(SETTINGS, style.COLORS, style.LINES, strict=False)
    for setting, color, line in looks:
        label: str | None = setting
        for seed in np.unique(curves["seed"]):
            chosen = (curves["setting"] == setting) & (curves["seed"] == seed)
            x, y = (curves[name][chosen].astype(float) for name in ("step", "largest_q"))
            axis.plot(x, y, color=color, linestyle=line, label=label)
            label = None
    _mark_warnings(axis, outcome)
    limit = outcome.numbers["limit"]
    axis.axhline(limit, color="0.4", linewidth=1.2, label="1.5 max|r| / (1 - discount)")
    axis.set(yscale="log", xlabel="critic step", ylabel="largest |Q| of the data")
    figure.legend(loc="outside lower center", ncols=2)
    return {"figure-8": figure}


def _mark_warnings(axis: Axes, outcome: Outcome) -> None:
    curves = outcome.tables["curves"]
    names = ("setting", "seed", "step")
    points = zip(*(curves[name] for name in names), strict=True)
    heights = dict(zip(points, curves["largest_q"], strict=True))
    noticed = [row for row in outcome.numbers["rows"] if row["noticed_at"] is not None]
    axis.plot(
        [row["noticed_at"] for row in noticed],
        [heights[row["setting"], row["seed"], row["noticed_at"]] for row in noticed],
        color=style.BLACK,
        marker="X",
        markersize=9,
        linestyle="",
        label="warning logged",
    )
