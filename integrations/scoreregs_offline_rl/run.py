"""A run: one configuration, one directory, from data to evaluated policies."""

import dataclasses
import hashlib
import platform
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from scoreregs_offline_rl.agent import TrainedPolicy
from scoreregs_offline_rl.configuration import TrainConfig, differences, to_dict
from scoreregs_offline_rl.download import DownloadProgress, no_download_progress
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.evaluation import EvaluationResult, data_score, evaluate
from scoreregs_offline_rl.files import load_json, save_json
from scoreregs_offline_rl.pipeline import StageResults, scale, train_stages
from scoreregs_offline_rl.presets import beta_for
from scoreregs_offline_rl.scores import reference_returns
from scoreregs_offline_rl.sources import load_data
from scoreregs_offline_rl.trainer import Progress, Trainer, no_progress
from scoreregs_offline_rl.transitions import Transitions

__all__ = ["AGENT_FOLDERS", "evaluate_run", "resolve", "train"]

AGENT_FOLDERS = {"policy": "agent", "baseline": "baseline_agent"}
"""Folder of each finished policy in a run directory, by the stage that trained it."""
_PACKAGES = ("scoreregs", "torch", "accelerate", "gymnasium", "mujoco", "numpy")


def train(
    config: TrainConfig,
    run_dir: Path,
    *,
    progress: Progress = no_progress,
    download_progress: DownloadProgress = no_download_progress,
    command: str | None = None,
) -> dict[str, Any]:
    """Train critic, behavior model, baseline and policy, evaluate both policies, keep everything.

    Called again with the same configuration it goes on where it was, and trains no finished stage
    twice. Under `accelerate launch` every process calls it.

    Args:
        config: What to do.
        run_dir: Where to keep it: `config.json`, a folder for each stage, the finished policies in
            `agent` and `baseline_agent`, `result.json`.
        progress: Told of every step.
        download_progress: Told how far the data is, where it has to be downloaded.
        command: How the run was started, for the record.

    Returns:
        What `result.json` holds.

    Raises:
        DataError: The data cannot be read or used.
        RunError: The configuration is incomplete, the directory holds a run of another one, or
            training diverges.
        ArgumentError: The environment is unknown.
    """
    start = time.perf_counter()
    data = load_data(config.data, config.loading, progress=download_progress)
    config = resolve(config, data)
    scaled = scale(data, config)
    accelerator = _accelerator(config, run_dir)
    _claim(run_dir, config, data, accelerator)
    result_file = run_dir / "result.json"
    if not result_file.exists():
        on_device = replace(scaled, transitions=scaled.transitions.to(accelerator.device))
        trainer = Trainer(accelerator, config.trainer, seed=config.seed, progress=progress)
        preparation = time.perf_counter() - start
        results = train_stages(config, on_device, trainer, run_dir)
        if accelerator.is_main_process:
            start = time.perf_counter()
            for name, agent in results.agents.items():
                agent.save(run_dir / AGENT_FOLDERS[name])
            evaluations = evaluate_run(run_dir, config.evaluation.episodes, config.evaluation.seed)
            seconds = preparation + time.perf_counter() - start
            result = _result(config, data, results, evaluations, seconds)
            device = str(accelerator.device)
            save_json(result_file, result | {"device": device, "command": command})
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return load_json(result_file)


def evaluate_run(run_dir: Path, episodes: int = 20, seed: int = 0) -> dict[str, EvaluationResult]:
    """Evaluate the finished policies of a run, by the name of the stage that trained them.

    Args:
        run_dir: The run's directory.
        episodes: Episodes of each policy.
        seed: Seed of the first episode.

    Raises:
        RunError: The directory holds no finished run.
    """
    agents = {name: TrainedPolicy.load(run_dir / folder) for name, folder in AGENT_FOLDERS.items()}
    return {
        name: evaluate(agent, str(agent.environment), episodes, seed)
        for name, agent in agents.items()
    }


def resolve(config: TrainConfig, data: Transitions) -> TrainConfig:
    """The configuration with everything filled in that depends on the data.

    Raises:
        RunError: No temperature or environment is given, and none is known for the data.
    """
    task = Path(config.data).stem
    beta = config.beta or beta_for(task)
    if beta is None:
        raise RunError(
            f"got no temperature for {task!r}, which has no preset: give --beta, from 0.01 (close "
            "to the data) to 0.5 (after the value) for rewards scaled by their return range"
        )
    environment = config.evaluation.environment or data.environment
    if environment is None:
        raise RunError(
            f"got no environment for {config.data}, which names none: give its Gymnasium id with "
            "--evaluation.environment"
        )
    return replace(
        config,
        beta=beta,
        baseline=replace(config.baseline, steps=config.baseline.steps or config.policy.steps),
        evaluation=replace(config.evaluation, environment=environment),
    )


def _accelerator(config: TrainConfig, run_dir: Path) -> Accelerator:
    accelerator = Accelerator(
        cpu=config.trainer.cpu,
        mixed_precision=config.trainer.mixed_precision,
        log_with=list(config.trainer.log_with) or None,
        project_dir=run_dir,
        # A step of ours is one of the schedule, however many processes share it.
        step_scheduler_with_optimizer=False,
    )
    wanted = set(config.trainer.log_with)
    missing = wanted - {str(tracker) for tracker in accelerator.log_with}
    if missing:
        raise RunError(
            f"got the trackers {sorted(missing)}, which are not installed, expected installed "
            "ones: install their packages or leave them out of --trainer.log-with"
        )
    if wanted:
        accelerator.init_trackers("scoreregs-offline-rl", config={"seed": config.seed})
    return accelerator


def _claim(run_dir: Path, config: TrainConfig, data: Transitions, accelerator: Accelerator) -> None:
    """Write configuration and data's hash into a new run directory, or find the same ones there."""
    contents = {"config.json": to_dict(config), "data.json": _fingerprint(data)}
    for name, content in contents.items():
        path = run_dir / name
        changes = differences(load_json(path), content) if path.exists() else []
        if changes:
            raise RunError(
                f"got another configuration than that of the run in {run_dir} "
                f"({'; '.join(changes)}): choose another run directory"
            )
    accelerator.wait_for_everyone()
    for name, content in contents.items():
        if accelerator.is_main_process and not (run_dir / name).exists():
            save_json(run_dir / name, content)
    accelerator.wait_for_everyone()


def _fingerprint(data: Transitions) -> dict[str, Any]:
    digest = hashlib.sha256()
    for tensor in (data.observations, data.actions, data.rewards, data.terminals):
        digest.update(tensor.numpy().tobytes())
    return {"rows": len(data), "sha256": digest.hexdigest()}


def _result(
    config: TrainConfig,
    data: Transitions,
    results: StageResults,
    evaluations: dict[str, EvaluationResult],
    seconds: float,
) -> dict[str, Any]:
    policy, baseline = evaluations["policy"], evaluations["baseline"]
    known = reference_returns(policy.environment) is not None
    returns = data.returns().double()
    stages = {name: dataclasses.asdict(report) for name, report in results.reports.items()}
    return {
        "normalized_score": policy.normalized_score,
        "baseline_score": baseline.normalized_score,
        "data_score": data_score(data, policy.environment) if known else None,
        "data_return": float(returns.mean()),
        "policy": dataclasses.asdict(policy),
        "baseline": dataclasses.asdict(baseline),
        "seconds": seconds + sum(report.seconds for report in results.reports.values()),
        "stages": stages,
        "data": config.data,
        "rows": len(data),
        "beta": config.beta,
        "seed": config.seed,
        "evaluation_seed": config.evaluation.seed,
        "versions": {"python": platform.python_version()} | _versions(),
        "threads": torch.get_num_threads(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
