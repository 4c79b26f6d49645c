"""A sweep: one data set, one directory, all seeds at all temperatures."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scoreregs_offline_rl.data.download import DownloadProgress, no_download_progress
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.runs.configuration import (
    EvaluationConfig,
    StageName,
    TrainConfig,
    differences,
    from_dict,
    to_dict,
)
from scoreregs_offline_rl.runs.pipeline import ScaledData, StageResults, scale
from scoreregs_offline_rl.runs.policy_evaluation import evaluate_policies
from scoreregs_offline_rl.runs.resolution import resolve
from scoreregs_offline_rl.runs.results import compose_result
from scoreregs_offline_rl.runs.run_directory import AGENT_FOLDERS, claim
from scoreregs_offline_rl.sweeps.grid import SweepGrid
from scoreregs_offline_rl.sweeps.pipeline import SweepPipeline, SweepResults
from scoreregs_offline_rl.sweeps.results import SweepTable
from scoreregs_offline_rl.training.acceleration import make_accelerator, tracked_settings
from scoreregs_offline_rl.training.stage_files import StageReport
from scoreregs_offline_rl.training.trainer import Progress, Trainer, no_progress

__all__ = ["sweep"]

_GRID, _RESULT = "grid.json", "result.json"


def sweep(
    config: TrainConfig,
    run_dir: str | Path,
    *,
    grid: SweepGrid | None = None,
    data: Transitions | None = None,
    progress: Progress = no_progress,
    download_progress: DownloadProgress = no_download_progress,
    command: str | None = None,
) -> SweepTable:
    """Train policies of several seeds at several temperatures as one vectorised job.

    Critics and behavior models are trained once for each seed, and each member is what `train`
    gives for its seed and temperature. Called again with the same arguments it goes on where it
    was; under `accelerate launch` every process calls it.

    Args:
        config: What to do; its seed and temperature play no part.
        run_dir: Where to keep it: the stages, `result.json`, and in `members` a folder for each
            member, which `evaluate`, `report` and `export` take as that of a run.
        grid: Seeds and temperatures; None: the paper's six of both.
        data: Transitions in memory, which `config.data` then only names; None: they are loaded.
        progress: Told of every step.
        download_progress: Told how far the data is, where it has to be downloaded.
        command: How the sweep was started, for the record.

    Returns:
        The members' scores, or without an environment what their checks found.

    Raises:
        DataError: The data cannot be read or used.
        RunError: The directory holds another sweep or a run, weights are given, or training
            diverges.
        ArgumentError: The environment is unknown.
        InterruptedRun: SIGINT or SIGTERM came; the step is saved.
    """
    start, run_dir, grid = time.perf_counter(), Path(run_dir), grid or SweepGrid()
    _check_weights(config)
    if data is None:
        data = load_data(config.data, config.loading, progress=download_progress)
    # The members have a seed and a temperature, the sweep has none.
    config = replace(resolve(config, data, ("critic", "behavior")), seed=0, beta=None)
    scaled = scale(data, config)
    accelerator = make_accelerator(config, run_dir)
    _check_grid(run_dir, grid)
    claim(run_dir, config, data, accelerator, {_GRID: to_dict(grid)})
    if not _covers(run_dir / _RESULT, config):
        on_device = replace(scaled, transitions=scaled.transitions.to(accelerator.device))
        settings = tracked_settings(config)
        trainer = Trainer(accelerator, config.trainer, seed=0, progress=progress, settings=settings)
        extra = {"preparation": time.perf_counter() - start}
        extra |= {"device": str(accelerator.device), "command": command}
        results = SweepPipeline(config, grid, on_device, trainer, run_dir).run()
        if accelerator.is_main_process:
            _keep(run_dir, config, grid, data, scaled, results, extra)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return SweepTable.load(run_dir)


def _check_weights(config: TrainConfig) -> None:
    """A sweep trains a critic and a behavior model of each seed."""
    for name in ("critic", "behavior"):
        if weights := getattr(config, name).weights:
            raise RunError(
                f"got {name}.weights = {weights!r} for a sweep, which trains a {name} of each "
                "seed: leave them out, or `train` with them one temperature after the other"
            )


def _check_grid(run_dir: Path, grid: SweepGrid) -> None:
    """A run directory is new, or holds the same sweep.

    Raises:
        RunError: It holds a run, or the stages of other members.
    """
    path = run_dir / _GRID
    if not path.exists() and (run_dir / "config.json").exists():
        raise RunError(f"got {run_dir}, which holds a run: choose another directory for the sweep")
    changes = differences(load_json(path), to_dict(grid)) if path.exists() else []
    fixed = {"seeds": ("critic", "behavior", "policy"), "betas": ("policy",)}
    for change in changes:
        if any((run_dir / stage).exists() for stage in fixed[change.split(":")[0]]):
            raise RunError(
                f"got other members than those of the sweep in {run_dir} ({change}): choose "
                "another directory"
            )


def _covers(path: Path, config: TrainConfig) -> bool:
    """Whether there is a result, evaluated as the configuration asks."""
    if not path.exists():
        return False
    before = from_dict(EvaluationConfig, load_json(path)["evaluation"])
    return replace(before, every=config.evaluation.every) == config.evaluation


def _own(report: StageReport, label: str, members: int) -> StageReport:
    """A member's part of the report of all: its metrics, and its share of the time."""
    ending = f"/{label}"
    own = {n.removesuffix(ending): v for n, v in report.metrics.items() if n.endswith(ending)}
    return replace(report, seconds=report.seconds / members, metrics=own)


def _keep_member(
    folder: Path,
    config: TrainConfig,
    results: StageResults,
    data: Transitions,
    evaluation: EvaluationResult | None,
    extra: dict[str, Any],
) -> dict[str, Any]:
    """Write a member's folder and return its line of the sweep's result."""
    results.agents["policy"].save(folder / AGENT_FOLDERS["policy"])
    save_json(folder / "config.json", to_dict(config))
    evaluations = {} if evaluation is None else {"policy": evaluation}
    result = compose_result(config, data, results, evaluations, 0.0)
    save_json(folder / _RESULT, result | extra)
    names = ("seed", "beta", "policy", "health", "data_score", "data_return")
    return {name: result[name] for name in names}


def _keep(
    run_dir: Path,
    config: TrainConfig,
    grid: SweepGrid,
    data: Transitions,
    scaled: ScaledData,
    results: SweepResults,
    extra: dict[str, Any],
) -> None:
    """Evaluate the members, write their folders and the result of all."""
    start = time.perf_counter()
    scalings = scaled.observations, scaled.actions
    evaluations = evaluate_policies(results.policies, *scalings, config.evaluation)
    lines, temperatures = {}, len(grid.betas)
    for index, (label, its) in enumerate(zip(grid.labels, grid.configs(config), strict=True)):
        seed = grid.seed_labels[index // temperatures]
        reports: dict[StageName, StageReport] = {
            name: _own(report, label if name == "policy" else seed, len(grid.labels))
            for name, report in results.reports.items()
        }
        agent = TrainedPolicy(
            results.policies[index],
            scaled.observations,
            scaled.actions,
            config.evaluation.environment,
        )
        member = StageResults(reports, results.findings[index], {"policy": agent})
        folder = run_dir / "members" / label
        evaluation = evaluations[index] if evaluations else None
        lines[label] = _keep_member(folder, its, member, data, evaluation, extra)
    seconds = extra["preparation"] + time.perf_counter() - start
    save_json(
        run_dir / _RESULT,
        {
            "members": lines,
            "evaluation": to_dict(config.evaluation),
            "stages": {name: asdict(report) for name, report in results.reports.items()},
            "seconds": seconds + sum(report.seconds for report in results.reports.values()),
            **extra,
        },
    )
