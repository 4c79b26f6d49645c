"""Offline reinforcement learning with score-regularized policies (SRPO)."""

from scoreregs_offline_rl.agent import TrainedPolicy
from scoreregs_offline_rl.configuration import (
    BaselineConfig,
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
    TrainerConfig,
)
from scoreregs_offline_rl.errors import DataError, RunError
from scoreregs_offline_rl.evaluation import EvaluationResult, evaluate
from scoreregs_offline_rl.hdf5 import load_hdf5
from scoreregs_offline_rl.inspection import Inspection, inspect_data
from scoreregs_offline_rl.loading import DataKeys, LoadingConfig
from scoreregs_offline_rl.models import RunModels, load_models
from scoreregs_offline_rl.run import evaluate_run, train
from scoreregs_offline_rl.sources import load_data
from scoreregs_offline_rl.transitions import Transitions

__all__ = [
    "BaselineConfig",
    "BehaviorConfig",
    "CriticConfig",
    "DataError",
    "DataKeys",
    "EvaluationConfig",
    "EvaluationResult",
    "Inspection",
    "LoadingConfig",
    "PolicyConfig",
    "RunError",
    "RunModels",
    "TrainConfig",
    "TrainedPolicy",
    "TrainerConfig",
    "Transitions",
    "evaluate",
    "evaluate_run",
    "inspect_data",
    "load_data",
    "load_hdf5",
    "load_models",
    "train",
]
