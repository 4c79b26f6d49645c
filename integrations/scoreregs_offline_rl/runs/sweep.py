"""A sweep: one data set, one directory, all seeds at all temperatures."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.configuration import from_dict, to_dict
from scoreregs_offline_rl.data.download import DownloadProgress, no_download_progress
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.learning_curve import evaluate_agents, evaluate_policies
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult
from scoreregs_offline_rl.evaluation.settings import EvaluationConfig
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.directory import GRID, MEMBERS, RunDirectory
from scoreregs_offline_rl.runs.division import (
    check_members,
    is_divided,
    remove_parts,
    train_divided,
)
from scoreregs_offline_rl.runs.grid import SweepGrid
from scoreregs_offline_rl.runs.lock import holding
from scoreregs_offline_rl.runs.needs import check_needs
from scoreregs_offline_rl.runs.outcome import PipelineResults
from scoreregs_offline_rl.runs.pipeline import Pipeline
from scoreregs_offline_rl.runs.plan import Plan
from scoreregs_offline_rl.runs.resolution import data_of, resolve
from scoreregs_offline_rl.runs.results import compose_result
from scoreregs_offline_rl.runs.run import in_order, with_finished
from scoreregs_offline_rl.runs.scaled import ScaledData, scale
from scoreregs_offline_rl.runs.sweep_table import SweepTable
from scoreregs_offline_rl.runs.timing import planned
from scoreregs_offline_rl.stages.registry import actors_of, with_needs
from scoreregs_offline_rl.training.acceleration import make_accelerator, tracked_settings
from scoreregs_offline_rl.training.agreement import losing_others, together
from scoreregs_offline_rl.training.stage_files import StageReport, is_finished
from scoreregs_offline_rl.training.trainer import Progress, Trainer, no_progress

__all__ = ["rehearse_sweep", "sweep"]


@named_calls
def sweep(
    config: TrainConfig,
    run_dir: str | Path,
    *,
    grid: SweepGrid | None = None,
    stages: Sequence[str] | None = None,
    data: Transitions | None = None,
    progress: Progress = no_progress,
    download_progress: DownloadProgress = no_download_progress,
    plan: Callable[[Plan], None] | None = None,
    command: str | None = None,
) -> SweepTable:
    """Trains the stages of several seeds at several temperatures as one vectorised job.

    What has no temperature is trained once for each seed, and each member is what `train` gives for
    its seed and temperature. Called again with the same arguments it goes on where it was. Under
    `accelerate launch` every process calls it, and trains a part of the seeds; any number of
    processes goes on with such parts.

    Args:
        config: what to do; its seed and temperature play no part. Weights that it names are those
            of a run, for every seed, or of a sweep, for each seed its own.
        run_dir: where to keep it: the stages, `result.json`, and in `members` a folder for each
            member, which `evaluate`, `report` and `export` take as that of a run.
        grid: seeds and temperatures; None: the paper's six of both.
        stages: those to train; None: the policy of Eq. 15 and what it builds on.
        data: transitions in memory, which `config.data` then only names, and which no setting of
            `config.loading` reads; None: they are loaded.
        progress: told of every step.
        download_progress: told how far the data is, where it has to be downloaded.
        plan: told what is left to do and how long it takes, as of `train`.
        command: how the sweep was started, for the record.

    Returns:
        The members' scores, or without an environment what their checks found.

    Raises:
        DataError: the data cannot be read or used.
        RunError: the directory holds another sweep or a run, a stage lacks what it builds on, no
            stage has a policy, or training diverges.
        ArgumentError: the environment is unknown, or data in memory comes with settings for reading
            a file.
        InterruptedRun: SIGINT or SIGTERM came; the step is saved.
    """
    start, grid = time.perf_counter(), grid or SweepGrid()
    directory = RunDirectory(run_dir, type(config))
    names = _names(config, stages)
    config, data = _prepare(config, directory, grid, names, data, download_progress)
    scaled = scale(data, config)
    accelerator = make_accelerator(config.trainer, directory.path)
    with losing_others(), holding(directory.path, accelerator):
        check_members(directory, grid)
        told = None if _is_done(directory, config, names) else plan
        config = planned(config, scaled, directory, names, told=told, start=start, grid=grid)
        directory.claim(config, data, accelerator, {GRID: to_dict(grid)})
        remove_parts(directory, accelerator)
        if not _is_done(directory, config, names):
            settings = tracked_settings(config)
            trainer = Trainer(
                accelerator, config.trainer, seed=0, progress=progress, settings=settings
            )
            placed = replace(scaled, transitions=scaled.transitions.to(accelerator.device))
            extra = {"preparation": time.perf_counter() - start}
            extra |= {"device": str(accelerator.device), "command": command}
            if accelerator.num_processes > 1 or is_divided(directory):
                used = with_needs(config.stages(), set(names), config)
                train_divided(config, data, placed, accelerator, directory, grid, used, progress)
            pipeline = Pipeline(config, placed, trainer, directory, grid)
            results = pipeline.run(with_finished(directory, names))
            with together():
                if accelerator.is_main_process:
                    _keep(directory, config, grid, data, scaled, results, extra)
        accelerator.wait_for_everyone()
        accelerator.end_training()
        return SweepTable.load(directory.path)


@named_calls
def rehearse_sweep(
    config: TrainConfig,
    run_dir: str | Path,
    *,
    grid: SweepGrid | None = None,
    stages: Sequence[str] | None = None,
    data: Transitions | None = None,
    download_progress: DownloadProgress = no_download_progress,
) -> Plan:
    """Returns what `sweep` would do with the same arguments, and how long; nothing is written.

    Args:
        config: as of `sweep`, like the others.
        run_dir: see there; it need not exist.
        grid: see there.
        stages: see there.
        data: see there.
        download_progress: see there.

    Raises:
        DataError: the data cannot be read or used.
        RunError: a stage lacks what it builds on, or `minutes` are too few.
    """
    start, grid, found = time.perf_counter(), grid or SweepGrid(), []
    directory = RunDirectory(run_dir, type(config))
    names = _names(config, stages)
    config, data = _prepare(config, directory, grid, names, data, download_progress)
    check_members(directory, grid)
    scaled = scale(data, config)
    planned(config, scaled, directory, names, told=found.append, start=start, grid=grid)
    return found[0]


def _prepare(
    config: TrainConfig,
    directory: RunDirectory,
    grid: SweepGrid,
    names: tuple[str, ...],
    data: Transitions | None,
    download_progress: DownloadProgress,
) -> tuple[TrainConfig, Transitions]:
    """Returns the resolved configuration and the data of a sweep that can begin."""
    directory.check_for_sweep()
    check_needs(config, directory, names)
    data = data_of(
        config, data, begun=directory.has_started(set(directory.stages)), progress=download_progress
    )
    # The members have a seed and a temperature, the sweep has none.
    config = directory.as_begun(config)
    config = resolve(replace(config, beta=grid.betas[0]), data, names)
    return directory.settled(replace(config, seed=0, beta=None)), data


def _names(config: TrainConfig, names: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the stages to train, at least one with a policy."""
    stages = config.stages()
    if names is None:
        follows = {name for name, stage in stages.items() if stage.follows_beta and stage.usual}
        return tuple(with_needs(stages, follows, config))
    ordered = in_order(config, names)
    if not set(ordered) & set(actors_of(stages)):
        raise RunError(
            f"got the stages {list(ordered)} for a sweep, expected one with a policy among them "
            f"({', '.join(actors_of(stages))}): add one"
        )
    return ordered


def _holds_agents(
    directory: RunDirectory, members: Mapping[str, Any], names: Collection[str]
) -> bool:
    """Returns whether every member has its policies, which may have been lost since."""
    actors = set(actors_of(directory.stages)) & set(names)
    return all(
        RunDirectory(directory.path / MEMBERS / label, directory.kind).holds_agent(name)
        for label, line in members.items()
        for name in actors - set(line.get("lost", ()))
    )


def _is_done(directory: RunDirectory, config: TrainConfig, names: tuple[str, ...]) -> bool:
    """Returns whether there is a result of the stages, evaluated as the configuration asks."""
    if not directory.result_file.exists():
        return False
    before = load_json(directory.result_file)
    if not {"evaluation", "stages"} <= set(before):
        return False
    evaluated = from_dict(EvaluationConfig, before["evaluation"])
    same = replace(evaluated, every=config.evaluation.every) == config.evaluation
    finished = all(is_finished(directory.stage(name)) for name in names)
    finished = finished and _holds_agents(directory, before.get("members", {}), names)
    return finished and same and set(names) <= set(before["stages"])


def _keep(
    directory: RunDirectory,
    config: TrainConfig,
    grid: SweepGrid,
    data: Transitions,
    scaled: ScaledData,
    results: PipelineResults,
    extra: dict[str, Any],
) -> None:
    """Evaluates the members, writes their folders and the result of all."""
    start, count, shown = time.perf_counter(), len(grid.labels), list(results.policies)[-1]
    evaluations = {
        name: _evaluate(name, config, grid, scaled, results) for name in results.policies
    }
    lines = {}
    for index, (label, its) in enumerate(zip(grid.labels, grid.configs(config), strict=True)):
        member = results.members[index]
        own = {
            name: found[index * len(found) // count]
            for name, found in evaluations.items()
            if found and name not in member.lost
        }
        reports = {
            name: _own(report, (label, grid.seed_labels[index // len(grid.betas)]), count)
            for name, report in results.reports.items()
        }
        folder = RunDirectory(directory.path / MEMBERS / label, directory.kind)
        for name, agent in member.agents.items():
            agent.save(folder.agent(name))
        save_json(folder.path / "config.json", to_dict(its))
        result = compose_result(its, data, reports, member, own, 0.0)
        save_json(folder.result_file, result | extra)
        kept = ("seed", "beta", "health", "verdict", "data_score", "data_return")
        kept += tuple(actors_of(config.stages()))
        lines[label] = {name: result[name] for name in kept} | {"lost": member.lost}
    seconds = extra["preparation"] + time.perf_counter() - start
    content = {
        "members": lines,
        "shown": shown,
        "by_beta": config.stages()[shown].follows_beta,
        "evaluation": to_dict(config.evaluation),
        "stages": {name: asdict(report) for name, report in results.reports.items()},
        "seconds": seconds + sum(report.seconds for report in results.reports.values()),
    }
    save_json(directory.result_file, content | extra)


def _evaluate(
    name: str, config: TrainConfig, grid: SweepGrid, scaled: ScaledData, results: PipelineResults
) -> list[EvaluationResult]:
    """Returns the evaluation of a stage's policies, all in one pass."""
    wanted = config.evaluation
    if getattr(config, name).policies == 1:
        scalings, count = (scaled.observations, scaled.actions), _members_of(name, config, grid)
        return evaluate_policies(results.policies[name], count, *scalings, wanted)
    agents = [member.agents.get(name) for member in results.members]
    # A lost member has none; what stands in its place is not looked at.
    other = next(agent for agent in agents if agent is not None)
    return evaluate_agents([other if agent is None else agent for agent in agents], wanted)


def _members_of(name: str, config: TrainConfig, grid: SweepGrid) -> int:
    """Returns how many policies a stage has trained."""
    return len(grid.labels if config.stages()[name].follows_beta else grid.seeds)


def _own(report: StageReport, labels: Sequence[str], members: int) -> StageReport:
    """Returns a member's part of the report of all: its metrics, and its share of the time."""
    own: Mapping[str, float] = {
        name.replace(f"/{label}_", "/").removesuffix(f"/{label}"): value
        for label in labels
        for name, value in report.metrics.items()
        if name.endswith(f"/{label}") or f"/{label}_policy-" in name
    }
    return replace(report, seconds=report.seconds / members, metrics=dict(own))
