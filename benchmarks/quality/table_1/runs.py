"""The sweeps behind the table: one for each task, its seeds at the task's one temperature."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.paper.outcome import Outcome
from scoreregs.errors import ScoreRegsError
from scoreregs_offline_rl import SweepGrid, SweepTable, TrainConfig, preset, sweep
from scoreregs_offline_rl.commands.console import Bars
from scoreregs_offline_rl.data.d4rl_data import d4rl_file
from scoreregs_offline_rl.data.hdf5 import check_hdf5
from scoreregs_offline_rl.environments.making import make_environment
from scoreregs_offline_rl.files import load_json
from scoreregs_offline_rl.tasks import PAPER_TASKS

__all__ = ["Budget", "measure", "obstacle"]

_EVALUATIONS = 20


@dataclass(frozen=True)
class Budget:
    """How much is trained and evaluated.

    Attributes:
        scale: Share of the steps of Appendix C, in (0, 1].
        seeds: Of critics, behavior models and policies.
        episodes: Of each evaluation.
    """

    scale: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    episodes: int = 20

    def config(self, task: str) -> TrainConfig:
        """Returns the paper's settings for a task, with a share of its steps, at least one."""
        config = preset(task, "paper-exact")
        stages = {
            name: replace(stage, steps=max(1, round(self.scale * stage.steps)))
            for name in ("critic", "behavior", "policy")
            for stage in [getattr(config, name)]
        }
        every = max(1, stages["policy"].steps // _EVALUATIONS)
        log_every = min(every, config.trainer.log_every)
        return replace(
            config,
            **stages,
            trainer=replace(config.trainer, log_every=log_every),
            evaluation=replace(
                config.evaluation,
                environment=PAPER_TASKS[task].environment,
                episodes=self.episodes,
                every=every - every % log_every,
            ),
        )


def obstacle(task: str) -> str | None:
    """Returns why a task cannot be run here; None where it can, with its data downloaded."""
    try:
        make_environment(PAPER_TASKS[task].environment).close()
        with Bars() as bars:
            check_hdf5(d4rl_file(PAPER_TASKS[task], progress=bars.download))
    except ScoreRegsError as error:
        return str(error)
    return None


def measure(budget: Budget, tasks: Sequence[str], run_dir: Path) -> Outcome:
    """Returns final scores and learning curves; what is finished is not trained again.

    Args:
        budget: Of every task.
        tasks: Those that have no obstacle.
        run_dir: Has a folder for each task.
    """
    scores: dict[str, list[Any]] = {name: [] for name in ("task", "seed", "score", "outside")}
    curves: dict[str, list[Any]] = {name: [] for name in ("task", "seed", "step", "score")}
    about = {}
    for task in tasks:
        config = budget.config(task)
        beta = config.beta or 0.0
        grid = SweepGrid(budget.seeds, (beta,))
        print(f"{task}, beta {beta:g}", flush=True)
        with Bars() as bars:
            found = sweep(config, run_dir / task, grid=grid, progress=bars)
        for row, seed in enumerate(budget.seeds):
            _append(scores, task, seed, found.values[row, 0], found.outside[row, 0])
            for step, score in _curve(found, row, config.policy.steps):
                _append(curves, task, seed, step, score)
        seconds = load_json(run_dir / task / "result.json")["seconds"]
        about[task] = {"beta": beta, "data": found.data, "seconds": round(seconds)}
    return Outcome({"tasks": about}, {"scores": scores, "curves": curves})


def _append(columns: dict[str, list[Any]], *line: float | str) -> None:
    for column, value in zip(columns.values(), line, strict=True):
        column.append(value if isinstance(value, str) else float(value))


def _curve(found: SweepTable, row: int, steps: int) -> list[tuple[int, float]]:
    """Steps and scores of a seed, with its end."""
    evaluated = np.array(found.curves["evaluated_step"])
    curve = list(zip(evaluated.tolist(), found.curves["score"][:, row, 0].tolist(), strict=True))
    return [point for point in curve if point[0] < steps] + [(steps, float(found.values[row, 0]))]
