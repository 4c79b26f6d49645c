"""Offline reinforcement learning with score-regularized policies (SRPO)."""

from scoreregs_offline_rl.agent import TrainedPolicy
from scoreregs_offline_rl.comparison import RunComparison, compare_runs
from scoreregs_offline_rl.configuration import (
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
from scoreregs_offline_rl.diagnosis import diagnose
from scoreregs_offline_rl.errors import DataError, RunError
from scoreregs_offline_rl.evaluation import EvaluationResult, evaluate
from scoreregs_offline_rl.export import OnnxExport, export_onnx
from scoreregs_offline_rl.hdf5 import load_hdf5
from scoreregs_offline_rl.health import Finding
from scoreregs_offline_rl.inspection import Inspection, inspect_data
from scoreregs_offline_rl.interruption import InterruptedRun
from scoreregs_offline_rl.loading import DataKeys, LoadingConfig
from scoreregs_offline_rl.models import RunModels, load_models, load_policy
from scoreregs_offline_rl.presets import preset
from scoreregs_offline_rl.record import TrainingRecord
from scoreregs_offline_rl.run import evaluate_run, train
from scoreregs_offline_rl.sources import load_data
from scoreregs_offline_rl.transitions import Transitions
from scoreregs_offline_rl.video import record_video

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
    "OnnxExport",
    "PolicyConfig",
    "RunComparison",
    "RunError",
    "RunModels",
    "StageName",
    "TrainConfig",
    "TrainedPolicy",
    "TrainerConfig",
    "TrainingRecord",
    "Transitions",
    "compare_runs",
    "diagnose",
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
    "train",
]
