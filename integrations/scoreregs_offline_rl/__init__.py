"""Offline reinforcement learning with score-regularized policies (SRPO)."""

from scoreregs_offline_rl.data.hdf5 import load_hdf5
from scoreregs_offline_rl.data.loading import DataKeys, LoadingConfig
from scoreregs_offline_rl.data.sources import load_data
from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.deployment.export import OnnxExport, export_onnx
from scoreregs_offline_rl.deployment.interface import MachineInterface, Signal
from scoreregs_offline_rl.deployment.record import TrainingRecord
from scoreregs_offline_rl.errors import DataError, RunError
from scoreregs_offline_rl.evaluation.comparison import RunComparison, compare_runs
from scoreregs_offline_rl.evaluation.rollouts import EvaluationResult, evaluate
from scoreregs_offline_rl.evaluation.video import record_video
from scoreregs_offline_rl.inspection.inspection import Inspection, inspect_data
from scoreregs_offline_rl.runs.configuration import (
    STAGES,
    BaselineConfig,
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    StageName,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.runs.models import RunModels, load_models, load_policy
from scoreregs_offline_rl.runs.presets import preset
from scoreregs_offline_rl.runs.run import evaluate_run, train
from scoreregs_offline_rl.sweeps.grid import SweepGrid
from scoreregs_offline_rl.sweeps.plot import draw_sweep
from scoreregs_offline_rl.sweeps.results import SweepTable
from scoreregs_offline_rl.sweeps.sweep import sweep
from scoreregs_offline_rl.training.diagnosis import diagnose
from scoreregs_offline_rl.training.health import Finding
from scoreregs_offline_rl.training.interruption import InterruptedRun

__all__ = [
    "STAGES",
    "BaselineConfig",
    "BehaviorConfig",
    "CriticConfig",
    "DataError",
    "DataKeys",
    "EvaluationConfig",
    "EvaluationResult",
    "Finding",
    "Inspection",
    "InterruptedRun",
    "LoadingConfig",
    "MachineInterface",
    "OnnxExport",
    "PolicyConfig",
    "RunComparison",
    "RunError",
    "RunModels",
    "Signal",
    "StageName",
    "SweepGrid",
    "SweepTable",
    "TrainConfig",
    "TrainedPolicy",
    "TrainerConfig",
    "TrainingRecord",
    "Transitions",
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
    "preset",
    "record_video",
    "sweep",
    "train",
]
