"""The critic: implicit Q-learning (Kostrikov et al., 2022)."""

import copy
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn

from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.runs.configuration import CriticConfig, StageName
from scoreregs_offline_rl.stages.networks import TwinQ, ValueNetwork
from scoreregs_offline_rl.stages.optimizers import adam, cosine_decay
from scoreregs_offline_rl.stages.stage import Metrics, Randoms, Stage

__all__ = ["Critic", "CriticStage", "expectile_loss"]


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """The asymmetric square |expectile - 1(u < 0)| u^2, element by element.

    Example:
        >>> expectile_loss(torch.tensor([-1.0, 2.0]), 0.75)
        tensor([0.2500, 3.0000])
    """
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    return weight * difference.square()


@final
class Critic(nn.Module):
    """The twin Q, its moving average and the state value.

    Args:
        q: The twin Q that is trained.
        value: The state value that is trained.
    """

    def __init__(self, q: TwinQ, value: ValueNetwork) -> None:
        super().__init__()
        self.q = q
        self.target_q = copy.deepcopy(q).requires_grad_(False)
        self.value = value

    @torch.no_grad()
    def update_target(self, rate: float) -> None:
        """Move the average: target <- (1 - rate) target + rate q."""
        targets, sources = (tuple(q.parameters()) for q in (self.target_q, self.q))
        get_ema_multi_avg_fn(1 - rate)(targets, sources, 0)

    @torch.no_grad()
    def advantage(self, action: Tensor, observation: Tensor) -> Tensor:
        """min(Q_1, Q_2)(s, a) - V(s) of the averaged twins, shape (batch,)."""
        return self.target_q.minimum(action, observation) - self.value(observation)


@final
class CriticStage(Stage):
    """Expectile regression of V, and Q towards r + discount V(s').

        L_V = E |tau - 1(u < 0)| u^2,                 u = min(Q_1, Q_2)_target(s, a) - V(s)
        L_Q = E sum_i (Q_i(s, a) - y)^2 / 2,          y = r + discount (1 - terminal) V(s')

    Both are taken at the parameters before the step. They share none, so one optimiser steps on
    their sum. Defaults: Appendix C.

    Args:
        observation_size: Number of observation dimensions.
        action_size: Number of action dimensions.
        config: Sizes and settings.
    """

    name: ClassVar[StageName] = "critic"

    def __init__(self, observation_size: int, action_size: int, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        self.critic = Critic(
            TwinQ(observation_size, action_size, layers=config.layers, width=config.width),
            ValueNetwork(observation_size, layers=config.layers, width=config.width),
        )

    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        """L_V + L_Q; there is nothing random about it."""
        del randoms
        critic, config = self.critic, self.config
        with torch.no_grad():
            target = critic.target_q.minimum(batch.actions, batch.observations)
            bootstrap = critic.value(batch.next_observations) * ~batch.terminals
            backup = batch.rewards + config.discount * bootstrap
        value = critic.value(batch.observations)
        value_loss = expectile_loss(target - value, config.expectile).mean(-1)
        q1, q2 = critic.q(batch.actions, batch.observations)
        q_loss = ((q1 - backup).square().mean(-1) + (q2 - backup).square().mean(-1)) / 2
        loss = value_loss + q_loss
        metrics = {"loss": loss, "value_loss": value_loss, "q_loss": q_loss}
        metrics |= {"value": value.mean(-1), "q": target.mean(-1)}
        return loss, {name: metric.detach() for name, metric in metrics.items()}

    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """Adam, at a constant learning rate unless the configuration says otherwise."""
        config = self.config
        parameters = [*self.critic.q.parameters(), *self.critic.value.parameters()]
        optimizer = adam(parameters, config.learning_rate)
        return optimizer, cosine_decay(optimizer, config.steps) if config.decay else None

    def after_step(self) -> None:
        """Average the twins (Polyak)."""
        self.critic.update_target(self.config.target_rate)
