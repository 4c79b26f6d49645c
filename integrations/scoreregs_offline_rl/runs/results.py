"""What a run leaves in `result.json`."""

import dataclasses
import platform
from importlib import metadata
from typing import Any

import torch

from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult, data_score
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.pipeline import StageResults
from scoreregs_offline_rl.tasks import reference_returns

__all__ = ["compose_result"]

_PACKAGES = ("scoreregs", "torch", "accelerate", "gymnasium", "mujoco", "numpy")


def compose_result(
    config: TrainConfig,
    data: Transitions,
    results: StageResults,
    evaluations: dict[str, EvaluationResult],
    seconds: float,
) -> dict[str, Any]:
    """The result of the stages that are finished, as JSON holds it.

    Args:
        config: Resolved.
        data: Unscaled.
        results: Of the stages.
        evaluations: Of the policies, by their stage's name; none without an environment.
        seconds: Spent beside training.
    """
    environment = config.evaluation.environment
    known = environment is not None and reference_returns(environment) is not None
    found: dict[str, Any] = {
        name: dataclasses.asdict(evaluations[name]) if name in evaluations else None
        for name in ("policy", "baseline")
    }
    stages = {name: dataclasses.asdict(report) for name, report in results.reports.items()}
    return {
        "normalized_score": found["policy"] and found["policy"]["normalized_score"],
        "baseline_score": found["baseline"] and found["baseline"]["normalized_score"],
        "data_score": data_score(data, environment) if known else None,
        "data_return": float(data.returns().double().mean()),
        **found,
        "health": {
            name: dataclasses.asdict(finding) | {"ok": finding.ok}
            for name, finding in results.findings.items()
        },
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
