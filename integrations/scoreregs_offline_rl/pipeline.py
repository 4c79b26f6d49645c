"""The stages in their order, on scaled data."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from scoreregs_offline_rl.agent import TrainedPolicy
from scoreregs_offline_rl.baseline import BaselineStage
from scoreregs_offline_rl.behavior import BehaviorStage
from scoreregs_offline_rl.configuration import TrainConfig
from scoreregs_offline_rl.critic import CriticStage
from scoreregs_offline_rl.evaluation import action_bounds
from scoreregs_offline_rl.networks import DiracPolicy
from scoreregs_offline_rl.policy import PolicyStage
from scoreregs_offline_rl.randoms import seeded
from scoreregs_offline_rl.scaling import ActionScaling, ObservationScaling, RewardScaling
from scoreregs_offline_rl.stage import Stage
from scoreregs_offline_rl.trainer import StageReport, Trainer
from scoreregs_offline_rl.transitions import Transitions

__all__ = ["ScaledData", "StageResults", "scale", "train_stages"]


@dataclass(frozen=True, eq=False)
class ScaledData:
    """Transitions as the networks see them, with the scalings that lead back.

    Attributes:
        transitions: Scaled observations, actions in [-1, 1], scaled rewards.
        observations: The scaling of observations.
        actions: The scaling of actions.
    """

    transitions: Transitions
    observations: ObservationScaling
    actions: ActionScaling


@dataclass(frozen=True, eq=False)
class StageResults:
    """What the four stages leave.

    Attributes:
        reports: How each stage went, by its name.
        agents: The finished policies, by the name of the stage that trained them.
    """

    reports: dict[str, StageReport]
    agents: dict[str, TrainedPolicy]


def scale(data: Transitions, config: TrainConfig) -> ScaledData:
    """Scale transitions as a resolved configuration says.

    Raises:
        DataError: Actions lie beyond the environment's bounds, or rewards have no range.
        ArgumentError: The environment is unknown.
    """
    environment = str(config.evaluation.environment)
    low, high = (Tensor(bound) for bound in action_bounds(environment))
    actions = ActionScaling(low, high)
    size = data.observations.shape[1]
    observations = (
        ObservationScaling.fit(data.observations)
        if config.normalize_observations
        else ObservationScaling.identity(size)
    )
    transitions = replace(
        data,
        observations=observations(data.observations),
        next_observations=observations(data.next_observations),
        actions=actions.normalize(data.actions, source=data.source),
        rewards=RewardScaling.fit(config.rewards, data)(data.rewards),
    )
    return ScaledData(transitions, observations, actions)


def train_stages(
    config: TrainConfig, data: ScaledData, trainer: Trainer, run_dir: Path
) -> StageResults:
    """Train critic, behavior model, baseline and policy, each in a folder of its own name.

    Args:
        config: Resolved: temperature, environment and the baseline's steps are given.
        data: On the trainer's device.
        trainer: Runs each stage.
        run_dir: Holds the stages' folders.
    """
    transitions = data.transitions
    sizes = transitions.observations.shape[1], transitions.actions.shape[1]
    reports: dict[str, StageReport] = {}

    def run(stage: Stage, steps: int, batch_size: int) -> None:
        folder = run_dir / stage.name
        reports[stage.name] = trainer.run(
            stage, transitions, steps=steps, batch_size=batch_size, folder=folder
        )

    def new_policy() -> DiracPolicy:
        # Both policies start from the same weights.
        with seeded(config.seed, "policy"):
            return DiracPolicy(*sizes, layers=config.policy.layers, width=config.policy.width)

    with seeded(config.seed, "critic"):
        critic = CriticStage(*sizes, config.critic)
    run(critic, config.critic.steps, config.critic.batch_size)

    with seeded(config.seed, "behavior"):
        behavior = BehaviorStage(*sizes, config.behavior)
    run(behavior, config.behavior.steps, config.behavior.batch_size)

    steps = config.baseline.steps or config.policy.steps
    baseline = BaselineStage(new_policy(), critic.critic, config.baseline, steps=steps)
    run(baseline, steps, config.baseline.batch_size)

    policy = PolicyStage(
        new_policy(), critic.critic, behavior.network, config.policy, beta=float(config.beta or 0)
    )
    run(policy, config.policy.steps, config.policy.batch_size)

    environment = config.evaluation.environment
    agents = {
        stage.name: TrainedPolicy(stage.policy, data.observations, data.actions, environment)
        for stage in (policy, baseline)
    }
    return StageResults(reports, agents)
