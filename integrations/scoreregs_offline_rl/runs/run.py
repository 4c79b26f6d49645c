"""A run: one configuration, one directory, from data to evaluated policies."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scoreregs_offline_rl.data.download import DownloadProgress, no_download_progress
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult, evaluate
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.runs.configuration import STAGES, StageName, TrainConfig
from scoreregs_offline_rl.runs.pipeline import Pipeline, StageResults, check_needs, scale
from scoreregs_offline_rl.runs.resolution import resolve
from scoreregs_offline_rl.runs.results import compose_result
from scoreregs_offline_rl.runs.run_directory import AGENT_FOLDERS, claim
from scoreregs_offline_rl.training.acceleration import make_accelerator, tracked_settings
from scoreregs_offline_rl.training.stage_files import is_finished
from scoreregs_offline_rl.training.trainer import Progress, Trainer, no_progress

__all__ = ["evaluate_run", "train"]


def train(
    config: TrainConfig,
    run_dir: str | Path,
    *,
    stages: Sequence[StageName] = STAGES,
    data: Transitions | None = None,
    progress: Progress = no_progress,
    download_progress: DownloadProgress = no_download_progress,
    command: str | None = None,
) -> dict[str, Any]:
    """Train the stages of a run, evaluate the finished policies, keep everything.

    Called again with the same configuration it goes on where it was, and trains no finished stage
    twice. Under `accelerate launch` or `torchrun` every process calls it.

    Args:
        config: What to do; `preset` gives the paper's.
        run_dir: Where to keep it: `config.json`, a folder for each stage, the finished policies in
            `agent` and `baseline_agent`, `result.json`.
        stages: Those to train, in the order of `STAGES`; what they build on is finished in
            `run_dir`, or given as weights.
        data: Transitions in memory, which `config.data` then only names; None: they are loaded.
        progress: Told of every step.
        download_progress: Told how far the data is, where it has to be downloaded.
        command: How the run was started, for the record.

    Returns:
        What `result.json` holds. Without an environment, or with no episodes, `policy` and
        `baseline` are None there, and `health` is what there is to go by.

    Raises:
        DataError: The data cannot be read or used.
        RunError: The configuration is incomplete, the directory holds a run of another one, a stage
            lacks what it builds on, or training diverges.
        ArgumentError: The environment is unknown.
        InterruptedRun: SIGINT or SIGTERM came; the step is saved.
    """
    start, run_dir, stages = time.perf_counter(), Path(run_dir), _in_order(stages)
    check_needs(config, run_dir, stages)
    data = (
        load_data(config.data, config.loading, progress=download_progress) if data is None else data
    )
    config = resolve(config, data, stages)
    scaled = scale(data, config)
    accelerator = make_accelerator(config, run_dir)
    claim(run_dir, config, data, accelerator)
    result_file = run_dir / "result.json"
    before = load_json(result_file) if result_file.exists() else None
    if before is None or not _covers(before, config, stages):
        on_device = replace(scaled, transitions=scaled.transitions.to(accelerator.device))
        trainer = Trainer(
            accelerator,
            config.trainer,
            seed=config.seed,
            progress=progress,
            settings=tracked_settings(config),
        )
        preparation = time.perf_counter() - start
        wanted: list[StageName] = [
            stage for stage in STAGES if stage in stages or is_finished(run_dir / stage)
        ]
        results = Pipeline(config, on_device, trainer, run_dir).run(wanted)
        if accelerator.is_main_process:
            start = time.perf_counter()
            evaluations = _evaluate(config, results, run_dir)
            seconds = preparation + time.perf_counter() - start
            result = compose_result(config, data, results, evaluations, seconds)
            device = str(accelerator.device)
            save_json(result_file, result | {"device": device, "command": command})
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return load_json(result_file)


def evaluate_run(
    run_dir: str | Path,
    episodes: int = 20,
    seed: int = 0,
    *,
    environment: str | None = None,
) -> dict[str, EvaluationResult]:
    """Evaluate the finished policies of a run, by the name of the stage that trained them.

    Args:
        run_dir: The run's directory.
        episodes: Episodes of each policy.
        seed: Seed of the first episode.
        environment: Gymnasium id; None: the one that the run was trained for.

    Raises:
        RunError: The directory holds no finished policy, or no environment is known.
        ArgumentError: See `evaluate`.
    """
    folders = {name: Path(run_dir) / folder for name, folder in AGENT_FOLDERS.items()}
    agents = {name: TrainedPolicy.load(f) for name, f in folders.items() if f.exists()}
    if not agents:
        raise RunError(f"got {run_dir}, which holds no finished policy: train its policy stage")
    evaluations = {}
    for name, agent in agents.items():
        place = environment or agent.environment
        if place is None:
            raise RunError(
                f"got {run_dir}, which names no environment: give its Gymnasium id with "
                "--environment, or diagnose the run without one"
            )
        evaluations[name] = evaluate(agent, place, episodes, seed)
    return evaluations


def _in_order(stages: Sequence[StageName]) -> tuple[StageName, ...]:
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown or not stages:
        raise RunError(f"got the stages {list(stages)}, expected some of {', '.join(STAGES)}")
    return tuple(stage for stage in STAGES if stage in stages)


def _covers(result: dict[str, Any], config: TrainConfig, stages: Sequence[StageName]) -> bool:
    """Whether a result holds the stages, evaluated as the configuration asks."""
    wanted, have = config.evaluation, [result[stage] for stage in AGENT_FOLDERS if stage in stages]
    evaluates = wanted.environment is not None and wanted.episodes > 0
    return (
        set(stages) <= set(result["stages"])
        and result["beta"] == config.beta
        and all((found is not None) == evaluates for found in have)
        and all(
            (found["environment"], len(found["returns"]), result["evaluation_seed"])
            == (wanted.environment, wanted.episodes, wanted.seed)
            for found in have
            if found is not None
        )
    )


def _evaluate(
    config: TrainConfig, results: StageResults, run_dir: Path
) -> dict[str, EvaluationResult]:
    """Save the finished policies, and evaluate them as they were saved."""
    for name, agent in results.agents.items():
        agent.save(run_dir / AGENT_FOLDERS[name])
    wanted = config.evaluation
    if wanted.environment is None or wanted.episodes == 0 or not results.agents:
        return {}
    return evaluate_run(run_dir, wanted.episodes, wanted.seed)
