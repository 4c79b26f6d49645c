"""The models of a finished run, to look at or to build on."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from scoreregs import NetworkPrior
from scoreregs.errors import ArgumentError
from scoreregs_offline_rl.deployment.agent import TrainedPolicy
from scoreregs_offline_rl.deployment.record import TrainingRecord
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import load_json, load_tensors
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.runs.run_directory import AGENT_FOLDERS, read_config
from scoreregs_offline_rl.stages.behavior import BehaviorStage, behavior_prior
from scoreregs_offline_rl.stages.critic import Critic, CriticStage

__all__ = ["RunModels", "load_models", "load_policy"]


@dataclass(frozen=True, eq=False)
class RunModels:
    """What a run trained.

    Attributes:
        config: The run's resolved configuration.
        critic: Q and V of scaled observations and actions in [-1, 1].
        prior: The behavior model of actions in [-1, 1] given scaled observations.
        policies: The finished policies, in the environment's units, by their stage's name.
    """

    config: TrainConfig
    critic: Critic
    prior: NetworkPrior
    policies: dict[str, TrainedPolicy]


def load_models(run_dir: Path) -> RunModels:
    """Load the models of a finished run, onto the CPU.

    Args:
        run_dir: The run's directory.

    Raises:
        RunError: The directory holds no finished run.
    """
    config = read_config(run_dir)
    policies = {name: load_policy(run_dir, name) for name in AGENT_FOLDERS}
    policy = policies["policy"]
    sizes = len(policy.observation_scaling.mean), len(policy.action_scaling.low)
    critic = CriticStage(*sizes, config.critic)
    behavior = BehaviorStage(*sizes, config.behavior)
    for stage in (critic, behavior):
        stage.load_state_dict(load_tensors(run_dir / stage.name / "weights.safetensors"))
        _freeze(stage)
    return RunModels(config, critic.critic, behavior_prior(behavior.network), policies)


def load_policy(run_dir: Path, stage: str = "policy") -> TrainedPolicy:
    """Load a policy of a finished run, with the record of its training, onto the CPU.

    Args:
        run_dir: The run's directory.
        stage: That trained it, `policy` or `baseline`.

    Raises:
        ArgumentError: There is no such stage.
        RunError: The directory holds no finished run.
    """
    if stage not in AGENT_FOLDERS:
        raise ArgumentError(f"got stage {stage!r}, expected one of {', '.join(AGENT_FOLDERS)}")
    if not (run_dir / AGENT_FOLDERS[stage]).exists():
        raise RunError(f"got {run_dir}, which holds no finished {stage}: train that stage there")
    policy = TrainedPolicy.load(run_dir / AGENT_FOLDERS[stage])
    policy.record = TrainingRecord.from_result(load_json(run_dir / "result.json"), stage)
    return policy


def _freeze(module: nn.Module) -> None:
    module.eval().requires_grad_(False)
