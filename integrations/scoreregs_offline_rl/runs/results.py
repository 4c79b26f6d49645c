"""What a run, or a member of a sweep, leaves in `result.json`."""

import dataclasses
import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

import torch

from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult, data_score
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.outcome import MemberResults
from scoreregs_offline_rl.stages.policy import PolicyStage
from scoreregs_offline_rl.stages.registry import actors_of
from scoreregs_offline_rl.tasks import reference_returns, scored_by_success
from scoreregs_offline_rl.training.stage_files import StageReport

__all__ = ["compose_result", "covers"]

_PACKAGES = ("scoreregs", "torch", "accelerate", "gymnasium", "mujoco", "numpy")


def compose_result(
    config: TrainConfig,
    data: Transitions,
    reports: Mapping[str, StageReport],
    member: MemberResults,
    evaluations: Mapping[str, EvaluationResult],
    seconds: float,
) -> dict[str, Any]:
    """Returns the result of the stages that are finished, as JSON holds it.

    Args:
        config: resolved.
        data: unscaled.
        reports: of the stages.
        member: what they left.
        evaluations: of the policies, by their stage's name; none without an environment.
        seconds: spent beside training.
    """
    environment, actors = config.evaluation.environment, actors_of(config.stages())
    known = environment is not None and (
        reference_returns(environment) is not None or scored_by_success(environment)
    )
    of_data = data_score(data, environment) if known else None
    scores = {name: found.normalized_score for name, found in evaluations.items()}
    found: dict[str, Any] = {
        name: dataclasses.asdict(evaluations[name]) if name in evaluations else None
        for name in actors
    }
    return {
        "normalized_score": scores.get(PolicyStage.name),
        "data_score": of_data,
        "data_return": float(data.returns().double().mean()),
        "scores": scores | {"data": of_data},
        **found,
        "labels": {name: stage.label for name, stage in actors.items()},
        "health": {
            name: dataclasses.asdict(finding) | {"ok": finding.ok}
            for name, finding in member.findings.items()
        },
        "verdict": None if member.verdict is None else dataclasses.asdict(member.verdict),
        "seconds": seconds + sum(report.seconds for report in reports.values()),
        "stages": {name: dataclasses.asdict(report) for name, report in reports.items()},
        "data": config.data,
        "rows": len(data),
        "beta": config.beta,
        "seed": config.seed,
        "evaluation_seed": config.evaluation.seed,
        "versions": {"python": platform.python_version()} | _versions(),
        "threads": torch.get_num_threads(),
    }


def covers(result: Mapping[str, Any], config: TrainConfig, names: tuple[str, ...]) -> bool:
    """Returns whether a result holds some stages, evaluated as a configuration asks."""
    wanted = config.evaluation
    have = [result.get(name) for name in actors_of(config.stages()) if name in names]
    evaluates = wanted.environment is not None and wanted.episodes > 0
    return (
        set(names) <= set(result.get("stages", ()))
        and result.get("beta") == config.beta
        and all((found is not None) == evaluates for found in have)
        and all(
            (found["environment"], len(found["returns"]), result["evaluation_seed"])
            == (wanted.environment, wanted.episodes, wanted.seed)
            for found in have
            if found is not None
        )
    )


def _versions() -> dict[str, str]:
    return {package: _version(package) for package in _PACKAGES}


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
