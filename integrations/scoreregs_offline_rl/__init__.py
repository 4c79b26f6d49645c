"""Offline reinforcement learning with score-regularized policies (SRPO).

A public name is imported when it is first asked for: the command's help needs no PyTorch.
"""

import ast
import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scoreregs_offline_rl.data.hdf5 import load_hdf5
    from scoreregs_offline_rl.data.interface import MachineInterface, Signal
    from scoreregs_offline_rl.data.loading import DataKeys, LoadingConfig
    from scoreregs_offline_rl.data.sources import load_data
    from scoreregs_offline_rl.data.transitions import Transitions
    from scoreregs_offline_rl.deployment.agent import TrainedPolicy
    from scoreregs_offline_rl.deployment.export import OnnxExport, export_onnx
    from scoreregs_offline_rl.deployment.record import TrainingRecord
    from scoreregs_offline_rl.errors import DataError, RunError
    from scoreregs_offline_rl.evaluation.offline import OfflineComparison
    from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult, evaluate
    from scoreregs_offline_rl.evaluation.settings import EvaluationConfig
    from scoreregs_offline_rl.evaluation.video import record_video
    from scoreregs_offline_rl.inspection.inspection import Inspection, inspect_data
    from scoreregs_offline_rl.runs.comparison import RunComparison, compare_runs
    from scoreregs_offline_rl.runs.configuration import STAGES, TrainConfig
    from scoreregs_offline_rl.runs.grid import SweepGrid
    from scoreregs_offline_rl.runs.models import RunModels, diagnose, load_models, load_policy
    from scoreregs_offline_rl.runs.offline_figures import offline_figures
    from scoreregs_offline_rl.runs.plan import Plan
    from scoreregs_offline_rl.runs.presets import preset
    from scoreregs_offline_rl.runs.run import evaluate_run, rehearse, train
    from scoreregs_offline_rl.runs.sweep import rehearse_sweep, sweep
    from scoreregs_offline_rl.runs.sweep_plot import draw_sweep
    from scoreregs_offline_rl.runs.sweep_table import SweepTable
    from scoreregs_offline_rl.stages.actor import ActorConfig, ActorStage
    from scoreregs_offline_rl.stages.awr import AWRConfig, AWRStage
    from scoreregs_offline_rl.stages.behavior import BehaviorConfig, BehaviorStage
    from scoreregs_offline_rl.stages.cloning import CloningConfig, CloningStage
    from scoreregs_offline_rl.stages.critic import CriticConfig, CriticStage
    from scoreregs_offline_rl.stages.finding import Finding
    from scoreregs_offline_rl.stages.policy import PolicyConfig, PolicyStage
    from scoreregs_offline_rl.stages.stage import (
        Context,
        Curve,
        Given,
        PriorStage,
        Stage,
        ValueStage,
        row,
    )
    from scoreregs_offline_rl.stages.td3_bc import TD3BCConfig, TD3BCStage
    from scoreregs_offline_rl.stages.value import Value
    from scoreregs_offline_rl.training.interruption import InterruptedRun
    from scoreregs_offline_rl.training.settings import TrainerConfig

__all__ = [
    "STAGES",
    "AWRConfig",
    "AWRStage",
    "ActorConfig",
    "ActorStage",
    "BehaviorConfig",
    "BehaviorStage",
    "CloningConfig",
    "CloningStage",
    "Context",
    "CriticConfig",
    "CriticStage",
    "Curve",
    "DataError",
    "DataKeys",
    "EvaluationConfig",
    "EvaluationResult",
    "Finding",
    "Given",
    "Inspection",
    "InterruptedRun",
    "LoadingConfig",
    "MachineInterface",
    "OfflineComparison",
    "OnnxExport",
    "Plan",
    "PolicyConfig",
    "PolicyStage",
    "PriorStage",
    "RunComparison",
    "RunError",
    "RunModels",
    "Signal",
    "Stage",
    "SweepGrid",
    "SweepTable",
    "TD3BCConfig",
    "TD3BCStage",
    "TrainConfig",
    "TrainedPolicy",
    "TrainerConfig",
    "TrainingRecord",
    "Transitions",
    "Value",
    "ValueStage",
    "compare_runs",
    "diagnose",
    "draw_sweep",
    "evaluate",
    "evaluate_run",
    "export_onnx",
    "inspect_data",
    "load_data",
    "load_hdf5",
    "load_models",
    "load_policy",
    "offline_figures",
    "preset",
    "record_video",
    "rehearse",
    "rehearse_sweep",
    "row",
    "sweep",
    "train",
]


@cache
def _homes() -> dict[str, str]:
    """Returns the module of each public name, by the imports above."""
    source = pkgutil.get_data(__name__, "__init__.py") or b""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in found for alias in node.names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_homes()[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
