"""What is compared: one configuration for every file and seed."""

from dataclasses import dataclass
from pathlib import Path

from scoreregs_offline_rl import (
    BehaviorConfig,
    CriticConfig,
    EvaluationConfig,
    PolicyConfig,
    TD3BCConfig,
    TrainConfig,
    TrainerConfig,
)

__all__ = ["Protocol"]


@dataclass(frozen=True)
class Protocol:
    """Budgets, and what makes the most of small ones; the rest is the library's default."""

    beta: float = 0.01
    """Temperature of Eq. 15: that of the paper's Table 2 for both medium-expert tasks."""
    critic_steps: int = 12_000
    """Of 256 transitions."""
    behavior_steps: int = 8_000
    """Steps of the diffusion model."""
    behavior_batch: int = 256
    """Its transitions a step; the paper takes 2048."""
    behavior_width: int = 128
    """Units of its blocks; the paper takes 256."""
    policy_steps: int = 8_000
    """Of 256 observations, for each of the policies but that of TD3+BC."""
    learning_rate: float = 1e-3
    """Of critic and diffusion model, decaying to zero; the paper takes 3e-4 throughout."""
    decay: bool = True
    """Whether it does decay."""
    target_rate: float = 0.02
    """Share of the new Q in its moving average; the paper takes 0.005."""
    normalize_observations: bool = True
    """Whether networks see normalised observations; the paper's do not."""
    episodes: int = 20
    """Episodes of an evaluation."""
    evaluate_every: int = 0
    """Steps between evaluations of a policy while it trains; 0: only when it is finished."""
    candidates: int = 32
    """Samples of the behavior model that one is selected from."""
    selection_episodes: int = 10
    """Episodes of its evaluation, which is the slowest."""

    @property
    def gradient_steps(self) -> int:
        """Of critic, behavior model and policy together."""
        return self.critic_steps + self.behavior_steps + self.policy_steps

    @property
    def td3_bc_steps(self) -> int:
        """Steps of TD3+BC that are as many updates of its critics and its policy together."""
        every = TD3BCConfig.policy_every
        return self.gradient_steps * every // (every + 1)

    def config(self, data: Path, seed: int) -> TrainConfig:
        """Returns the configuration of a run with all stages of the library."""
        return TrainConfig(
            data=str(data),
            beta=self.beta,
            seed=seed,
            normalize_observations=self.normalize_observations,
            critic=CriticConfig(
                steps=self.critic_steps,
                learning_rate=self.learning_rate,
                decay=self.decay,
                target_rate=self.target_rate,
            ),
            behavior=BehaviorConfig(
                steps=self.behavior_steps,
                batch_size=self.behavior_batch,
                width=self.behavior_width,
                learning_rate=self.learning_rate,
                decay=self.decay,
            ),
            td3_bc=TD3BCConfig(steps=self.td3_bc_steps),
            policy=PolicyConfig(steps=self.policy_steps),
            evaluation=EvaluationConfig(episodes=self.episodes, every=self.evaluate_every),
            trainer=TrainerConfig(log_every=self.evaluate_every or TrainerConfig.log_every),
        )
