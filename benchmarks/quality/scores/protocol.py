"""What is compared: one configuration for every file and seed."""

from dataclasses import dataclass
from pathlib import Path

from scoreregs_offline_rl import (
    BaselineConfig,
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TrainConfig,
)

__all__ = ["Protocol"]


@dataclass(frozen=True)
class Protocol:
    """Budgets and temperature; whatever else there is to set is the library's default."""

    beta: float = 0.05
    """Temperature of Eq. 15."""
    critic_steps: int = 20_000
    """Of 256 transitions."""
    behavior_steps: int = 6_000
    """Steps of the diffusion model."""
    behavior_batch: int = 256
    """Its transitions a step; the paper takes 2048."""
    policy_steps: int = 10_000
    """Of 256 observations, for each of the policies."""
    episodes: int = 20
    """Episodes of an evaluation."""

    def config(self, data: Path, seed: int, advantage_scale: float = 3.0) -> TrainConfig:
        """Returns the configuration of a run, whose baseline is cloning at advantage scale 0."""
        return TrainConfig(
            data=str(data),
            beta=self.beta,
            seed=seed,
            critic=CriticConfig(steps=self.critic_steps),
            behavior=BehaviorConfig(steps=self.behavior_steps, batch_size=self.behavior_batch),
            policy=PolicyConfig(steps=self.policy_steps),
            baseline=BaselineConfig(advantage_scale=advantage_scale),
            evaluation=EvaluationConfig(episodes=self.episodes),
        )
