"""A run: one configuration, one directory, from data to evaluated policies."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scoreregs.arguments import named_calls, nearest
from scoreregs.errors import MissingDependencyError
from scoreregs_offline_rl.data.download import DownloadProgress, no_download_progress
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult, evaluate
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.runs.branching import take_over
from scoreregs_offline_rl.runs.configuration import TrainConfig, usual_stages
from scoreregs_offline_rl.runs.directory import RunDirectory
from scoreregs_offline_rl.runs.lock import holding
from scoreregs_offline_rl.runs.needs import check_needs
from scoreregs_offline_rl.runs.outcome import PipelineResults
from scoreregs_offline_rl.runs.pipeline import Pipeline
from scoreregs_offline_rl.runs.plan import Plan
from scoreregs_offline_rl.runs.resolution import data_of, resolve
from scoreregs_offline_rl.runs.results import compose_result, covers
from scoreregs_offline_rl.runs.run_plot import draw_run
from scoreregs_offline_rl.runs.scaled import scale
from scoreregs_offline_rl.runs.timing import planned
from scoreregs_offline_rl.stages.former import current_result
from scoreregs_offline_rl.stages.registry import actors_of, known_name, with_needs
from scoreregs_offline_rl.training.acceleration import make_accelerator, tracked_settings
from scoreregs_offline_rl.training.agreement import losing_others, together
from scoreregs_offline_rl.training.stage_files import is_finished
from scoreregs_offline_rl.training.trainer import Progress, Trainer, no_progress

__all__ = ["evaluate_run", "in_order", "rehearse", "train", "with_finished"]

logger = logging.getLogger(__name__)


@named_calls
def train(
    config: TrainConfig,
    run_dir: str | Path,
    *,
    stages: Sequence[str] | None = None,
    data: Transitions | None = None,
    progress: Progress = no_progress,
    download_progress: DownloadProgress = no_download_progress,
    plan: Callable[[Plan], None] | None = None,
    source: str | Path | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Trains the stages of a run, evaluates the finished policies, keeps everything.

    Called again with the same configuration it goes on where it was, and trains no finished stage
    twice. Under `accelerate launch` or `torchrun` every process calls it.

    Args:
        config: what to do; `preset` gives the paper's. Of a class derived from `TrainConfig`, it
            brings stages of its own.
        run_dir: where to keep it: `config.json`, a folder for each stage, the finished policies in
            `agent` and `awr_agent`, `result.json`, and `run.png` where matplotlib is installed.
        stages: names of those to train, or one name; what they build on is finished in `run_dir`,
            or given as weights. None: critic, behavior model, policy, and advantage-weighted
            regression beside it.
        data: transitions in memory, which `config.data` then only names, and which no setting of
            `config.loading` reads; None: they are loaded.
        progress: told of every step.
        download_progress: told how far the data is, where it has to be downloaded.
        plan: told what is left to do and how long it takes, before training; measuring that takes a
            second or two. None: it is not measured, unless the configuration has `minutes`.
        source: the directory of a finished run, whose stages a new run begins with as far as its
            settings leave them as they are; so a policy gets more steps. It is only read.
        command: how the run was started, for the record.

    Returns:
        What `result.json` holds. Without an environment, or with no episodes, the policies' entries
        are None there, and `health` is what there is to go by.

    Raises:
        DataError: the data cannot be read or used.
        RunError: the configuration is incomplete, the directory holds a run of another one, another
            process or a sweep, a stage lacks what it builds on, or training diverges.
        ArgumentError: the environment is unknown, or data in memory comes with settings for reading
            a file.
        InterruptedRun: SIGINT or SIGTERM came; the step is saved.
    """
    start, directory = time.perf_counter(), RunDirectory(run_dir, type(config))
    names = in_order(config, stages)
    needed = () if source is not None else names
    config, data = _prepare(config, directory, names, needed, data, download_progress)
    scaled = scale(data, config)
    accelerator = make_accelerator(config.trainer, directory.path)
    with losing_others(), holding(directory.path, accelerator):
        if source is not None and not directory.holds_run():
            config = take_over(RunDirectory(source, type(config)), directory, config, data)
        told = None if _is_done(directory, config, names) else plan
        config = planned(config, scaled, directory, names, told=told, start=start)
        directory.claim(config, data, accelerator)
        if not _is_done(directory, config, names):
            extra = {"device": str(accelerator.device), "command": command}
            trainer = Trainer(
                accelerator,
                config.trainer,
                seed=config.seed,
                progress=progress,
                settings=tracked_settings(config),
            )
            placed = replace(scaled, transitions=scaled.transitions.to(accelerator.device))
            preparation = time.perf_counter() - start
            pipeline = Pipeline(config, placed, trainer, directory)
            results = pipeline.run(with_finished(directory, names))
            chosen = directory.chosen_beta()
            preparation += 0.0 if chosen is None else chosen["seconds"]
            with together():
                if accelerator.is_main_process:
                    _keep(pipeline.config, directory, data, results, extra, preparation)
        accelerator.wait_for_everyone()
        accelerator.end_training()
        return current_result(load_json(directory.result_file), config.stages())


@named_calls
def rehearse(
    config: TrainConfig,
    run_dir: str | Path,
    *,
    stages: Sequence[str] | None = None,
    data: Transitions | None = None,
    download_progress: DownloadProgress = no_download_progress,
    source: str | Path | None = None,
) -> Plan:
    """Returns what `train` would do with the same arguments, and how long; nothing is written.

    Args:
        config: as of `train`, like the others.
        run_dir: see there; it need not exist.
        stages: see there.
        data: see there.
        download_progress: see there.
        source: see there.

    Raises:
        DataError: the data cannot be read or used.
        RunError: the directory holds a sweep, a stage lacks what it builds on, or `minutes` are too
            few.

    Example:
        >>> from scoreregs_offline_rl import CriticConfig
        >>> config = TrainConfig("pendulum-swingup", critic=CriticConfig(steps=10, width=8))
        >>> plan = rehearse(config, "runs/new", stages=["critic"])
        >>> plan.stages[0].steps, 0 < plan.seconds < 60, Path("runs/new").exists()
        (10, True, False)
    """
    start, directory = time.perf_counter(), RunDirectory(run_dir, type(config))
    names = in_order(config, stages)
    needed = () if source is not None else names
    config, data = _prepare(config, directory, names, needed, data, download_progress)
    found: list[Plan] = []
    with TemporaryDirectory() as place:
        if source is not None and not directory.holds_run():
            directory = RunDirectory(place, type(config))
            config = take_over(RunDirectory(source, type(config)), directory, config, data)
        planned(config, scale(data, config), directory, names, told=found.append, start=start)
    return found[0]


@named_calls
def evaluate_run(
    run_dir: str | Path,
    episodes: int = 20,
    seed: int = 0,
    *,
    environment: str | None = None,
) -> dict[str, EvaluationResult]:
    """Returns the evaluation of a run's finished policies, by the stage that trained them.

    Args:
        run_dir: the run's directory.
        episodes: episodes of each policy.
        seed: seed of the first episode.
        environment: Gymnasium id; None: the one that the run was trained for.

    Raises:
        RunError: the directory holds no finished policy, or no environment is known.
        ArgumentError: see `evaluate`.
    """
    folders = RunDirectory(run_dir).agents()
    if not folders:
        raise RunError(f"got {run_dir}, which holds no finished policy: train its policy stage")
    evaluations = {}
    for name, folder in folders.items():
        agent = TrainedPolicy.load(folder)
        place = environment or agent.environment
        if place is None:
            raise RunError(
                f"got {run_dir}, which names no environment: give its Gymnasium id with "
                "--environment, or diagnose the run without one"
            )
        evaluations[name] = evaluate(agent, place, episodes, seed)
    return evaluations


def in_order(config: TrainConfig, names: Sequence[str] | None) -> tuple[str, ...]:
    """Returns names of stages in the order of training; None: the usual ones.

    Raises:
        RunError: one is unknown, or there is none.
    """
    stages = config.stages()
    if names is None:
        return tuple(with_needs(stages, set(usual_stages(stages)), config))
    names = (names,) if isinstance(names, str) else tuple(names)
    known = [known_name(stages, name) for name in names]
    if None in known or not names:
        hint = nearest(str(names[known.index(None)]), stages) if names else ""
        raise RunError(f"got the stages {list(names)}, expected some of {', '.join(stages)}{hint}")
    return tuple(name for name in stages if name in known)


def with_finished(directory: RunDirectory, names: Sequence[str]) -> list[str]:
    """Returns names of stages with those that are finished in a directory."""
    stages = directory.stages
    return [n for n in stages if n in names or is_finished(directory.stage(n))]


def _prepare(
    config: TrainConfig,
    directory: RunDirectory,
    names: tuple[str, ...],
    needed: tuple[str, ...],
    data: Transitions | None,
    download_progress: DownloadProgress,
) -> tuple[TrainConfig, Transitions]:
    """Returns the resolved configuration and the data of a run that can begin.

    Args:
        config: as given.
        directory: of the run.
        names: the stages to train.
        needed: those that have to find there what they build on.
        data: None: it is loaded.
        download_progress: told how far it is.
    """
    directory.check_for_run()
    check_needs(config, directory, needed)
    data = data_of(
        config, data, begun=directory.has_started(set(directory.stages)), progress=download_progress
    )
    return directory.settled(resolve(directory.as_begun(config), data, names)), data


def _is_done(directory: RunDirectory, config: TrainConfig, names: tuple[str, ...]) -> bool:
    if not directory.result_file.exists():
        return False
    content = load_json(directory.result_file)
    # Weights may have been lost since, and policies.
    finished = all(is_finished(directory.stage(name)) for name in names)
    agents = set(actors_of(config.stages())) & set(names)
    finished = finished and all(directory.holds_agent(name) for name in agents)
    return finished and covers(current_result(content, config.stages()), config, names)


def _draw(directory: RunDirectory) -> None:
    """Draws the run's picture, where there is something to draw with."""
    try:
        draw_run(directory, directory.path / "run.png")
    except MissingDependencyError as error:
        logger.info("no picture of the run: %s", error)


def _keep(
    config: TrainConfig,
    directory: RunDirectory,
    data: Transitions,
    results: PipelineResults,
    extra: dict[str, Any],
    preparation: float,
) -> None:
    """Saves and evaluates the policies, and writes the result."""
    start = time.perf_counter()
    member, evaluations = results.members[0], _evaluate(config, results, directory)
    seconds = preparation + time.perf_counter() - start
    result = compose_result(config, data, results.reports, member, evaluations, seconds)
    save_json(directory.result_file, result | extra)
    _draw(directory)


def _evaluate(
    config: TrainConfig, results: PipelineResults, directory: RunDirectory
) -> dict[str, EvaluationResult]:
    """Saves the finished policies, and evaluates them as they were saved."""
    agents = results.members[0].agents
    for name, agent in agents.items():
        agent.save(directory.agent(name))
    wanted = config.evaluation
    if wanted.environment is None or wanted.episodes == 0 or not agents:
        return {}
    return evaluate_run(directory.path, wanted.episodes, wanted.seed)
