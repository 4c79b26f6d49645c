"""The critic: implicit Q-learning (Kostrikov et al., 2022)."""

import copy
import functools
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn
from typing_extensions import Self, override

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.configuration import (
    Count,
    NotNegative,
    Positive,
    Share,
    Within,
    check_settings,
)
from scoreregs_offline_rl.data.stretches import FirstRows, Stretches, stretches
from scoreregs_offline_rl.data.transitions import Batch, Transitions
from scoreregs_offline_rl.stages.finding import Finding
from scoreregs_offline_rl.stages.networks import EnsembleQ, ValueNetwork
from scoreregs_offline_rl.stages.optimizers import adam, cosine_decay
from scoreregs_offline_rl.stages.probe import Probe, Probes
from scoreregs_offline_rl.stages.stage import Context, Curve, Metrics, Randoms, ValueStage
from scoreregs_offline_rl.stages.value import Value

__all__ = [
    "Critic",
    "CriticConfig",
    "CriticStage",
    "TwinValue",
    "check_critic",
    "expectile_loss",
    "largest_q_allowed",
]

# Half as much again as any return can be.
_Q_MARGIN = 1.5


@named_calls
@dataclass(frozen=True)
class CriticConfig:
    """Implicit Q-learning."""

    steps: Count = 1_500_000
    """Gradient steps."""
    batch_size: Count = 256
    """Transitions of a step, over all processes."""
    learning_rate: Positive = 3e-4
    """Of Adam."""
    decay: bool = False
    """Whether the learning rate falls to zero over the run, by a cosine: for runs of few steps."""
    expectile: Annotated[float, Within("(0, 1)")] = 0.7
    """Expectile tau of the state value, in (0, 1); the paper takes 0.9 for AntMaze."""
    discount: Annotated[float, Within("[0, 1)")] = 0.99
    """Discount of a step, in [0, 1)."""
    target_rate: Share = 0.005
    """Share of the new Q in its moving average, in (0, 1]."""
    layers: Count = 2
    """Hidden layers."""
    width: Count = 256
    """Units of a hidden layer."""
    layer_norm: bool = False
    """Whether hidden layers are normalised: values stay bounded away from the data's actions."""
    members: Count = 2
    """Action values that are trained side by side; the paper's twins are two."""
    rho: NotNegative | None = None
    """The actions' worth, of which V is an expectile and a policy's advantage is made, is the mean
    of the members less this many standard deviations; None: the smallest member's, as in the
    paper."""
    action_noise: NotNegative = 0.0
    """Standard deviation of noise on the actions that Q is regressed at, of actions in [-1, 1]: a
    young critic is smoother in them."""
    warm_start: Annotated[float, Within("[0, 1]")] = 0.0
    """Share of the steps, in [0, 1] and from the first on, that regress Q on the discounted return
    of each row: what is far off is learnt at once, not step by step. Where an episode was cut, the
    return goes on with V of the state after. It takes the data's memory twice. 0: none; 1: all."""
    return_share: Share | None = None
    """Effective share of the rows, in (0, 1], when episodes of higher return are drawn more often;
    None: all rows alike, each once an epoch."""
    weights: str | None = None
    """Finished weights to take instead of training: the directory of another run on the same data,
    or a checkpoint of the paper's code."""

    def __post_init__(self) -> None:
        check_settings(self)


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Returns the asymmetric square |expectile - 1(u < 0)| u^2, element by element.

    Example:
        >>> expectile_loss(torch.tensor([-1.0, 2.0]), 0.75)
        tensor([0.2500, 3.0000])
    """
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    return weight * difference.square()


@final
class Critic(nn.Module):
    """The action values, their moving average and the state value.

    Args:
        q: the action values that are trained.
        value: the state value that is trained.
        rho: see `CriticConfig`.
    """

    def __init__(self, q: EnsembleQ, value: ValueNetwork, rho: float | None = None) -> None:
        super().__init__()
        self.rho = rho
        self.q = q
        self.target_q = copy.deepcopy(q).requires_grad_(False)
        self.value = value

    def lower_q(self, action: Tensor, observation: Tensor) -> Tensor:
        """Returns the averaged values' lower bound (batch,), which V and advantages are made of."""
        if self.rho is None:
            return self.target_q.minimum(action, observation)
        return self.target_q.pessimistic(action, observation, self.rho)

    @torch.no_grad()
    def update_target(self, rate: float) -> None:
        """Moves the average: target <- (1 - rate) target + rate q."""
        targets, sources = (tuple(q.parameters()) for q in (self.target_q, self.q))
        get_ema_multi_avg_fn(1 - rate)(targets, sources, 0)


@final
class TwinValue(Value):
    """A critic's value: Q is the mean of the averaged members, the advantage their lower bound's.

    Args:
        critic: it is only read.
    """

    def __init__(self, critic: Critic) -> None:
        self.critic = critic

    @override
    def q(self, action: Tensor, observation: Tensor) -> Tensor:
        return self.critic.target_q.mean(action, observation)

    @override
    def v(self, observation: Tensor) -> Tensor:
        return self.critic.value(observation)

    @override
    @torch.no_grad()
    def advantage(self, action: Tensor, observation: Tensor) -> Tensor:
        return self.critic.lower_q(action, observation) - self.critic.value(observation)


@named_calls
@final
class CriticStage(ValueStage[CriticConfig]):
    r"""Expectile regression of V, and Q towards r + discount V(s').

    $$ L_V = \mathbb E\, |\tau - 1(u < 0)|\, u^2, \qquad
       u = \min(Q_1, Q_2)_\mathrm{target}(s, a) - V(s) $$
    $$ L_Q = \mathbb E \sum_i (Q_i(s, a) - y)^2 / 2, \qquad
       y = r + \mathrm{discount}\, (1 - \mathrm{terminal})\, V(s') $$

    In the share `warm_start` of the steps, the first ones, r and s' are those of all that follows a
    row (see `stretches`), so that y is its return,

    $$ y = \sum_{k<n} \mathrm{discount}^k\, r_{t+k}
       + \mathrm{discount}^n\, (1 - \mathrm{terminal}_{t+n-1})\, V(s_{t+n}) $$

    with n the steps to the trajectory's end. V is an expectile of Q in these steps too: one of the
    returns themselves would take luck for skill.

    Both are taken at the parameters before the step. They share none, so one optimiser steps on
    their sum. Defaults: Appendix C. With a rho the minimum is the mean less rho standard
    deviations, as is usual for ensembles (Ghasemipour et al., 2022).

    Args:
        observation_size: number of observation dimensions.
        action_size: number of action dimensions.
        config: sizes and settings.
    """

    name = "critic"
    label = "critic"
    help = "Train the critic of a run: implicit Q-learning."
    curve = Curve("q", "Q of the data's actions")
    usual = True
    # It diverges at any time.
    settled_after = 0.0
    checked_rows = 512

    def __init__(self, observation_size: int, action_size: int, config: CriticConfig) -> None:
        super().__init__(config)
        sizes = {
            "layers": config.layers,
            "width": config.width,
            "layer_norm": config.layer_norm,
        }
        self.critic = Critic(
            EnsembleQ(observation_size, action_size, members=config.members, **sizes),
            ValueNetwork(observation_size, **sizes),
            config.rho,
        )
        self._action_size = action_size

    @override
    @classmethod
    def build(cls, context: Context[CriticConfig]) -> Self:
        return cls(context.observation_size, context.action_size, context.config)

    @property
    @override
    def value(self) -> TwinValue:
        return TwinValue(self.critic)

    @override
    def first_rows(self, data: Transitions) -> FirstRows | None:
        """Returns each row with its return, where there is a warm start."""
        steps = round(self.config.warm_start * self.config.steps)
        return FirstRows(steps, stretches(data, self.config.discount)) if steps else None

    @override
    def draw(self, batch_size: int, generator: Generator) -> Randoms:
        """Returns noise on the actions, (batch, a), if there is any."""
        if self.config.action_noise == 0:
            return {}
        size = batch_size, self._action_size
        return {"noise": torch.randn(size, generator=generator, device=generator.device)}

    @override
    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        critic, config = self.critic, self.config
        actions = batch.actions
        if "noise" in randoms:
            actions = (actions + config.action_noise * randoms["noise"]).clamp(-1, 1)
        with torch.no_grad():
            target = critic.lower_q(batch.actions, batch.observations)
            bootstrap = critic.value(batch.next_observations) * ~batch.terminals
            if isinstance(batch, Stretches):
                bootstrap = bootstrap * batch.later
            backup = batch.rewards + config.discount * bootstrap
        value = critic.value(batch.observations)
        value_loss = expectile_loss(target - value, config.expectile).mean(-1)
        errors = [(q - backup).square().mean(-1) for q in critic.q(actions, batch.observations)]
        q_loss = functools.reduce(torch.add, errors) / 2
        loss = value_loss + q_loss
        metrics = {"loss": loss, "value_loss": value_loss, "q_loss": q_loss}
        metrics |= {"value": value.mean(-1), "q": target.mean(-1)}
        return loss, {name: metric.detach() for name, metric in metrics.items()}

    @override
    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """Returns Adam, at a constant learning rate unless the settings say otherwise."""
        config = self.config
        parameters = [*self.critic.q.parameters(), *self.critic.value.parameters()]
        optimizer = adam(parameters, config.learning_rate)
        return optimizer, cosine_decay(optimizer, config.steps) if config.decay else None

    @override
    def after_step(self) -> None:
        self.critic.update_target(self.config.target_rate)

    @override
    def check(self, probes: Probes) -> Finding:
        """Returns whether |Q| of the data stays within what rewards and discount allow."""
        limit = largest_q_allowed(probes.largest_reward, self.config.discount)
        return check_critic(self.critic, probes.trained, limit)


def largest_q_allowed(largest_reward: float, discount: float) -> float:
    """Returns 1.5 max|r| / (1 - discount), half as much again as any return can be.

    Args:
        largest_reward: max|r|, as the critic sees it.
        discount: of a step, in [0, 1).
    """
    return _Q_MARGIN * largest_reward / (1 - discount)


@torch.no_grad()
def check_critic(critic: Critic, probe: Probe, limit: float) -> Finding:
    """Returns whether |Q| of the data stays below a limit, `largest_q_allowed`."""
    values = critic.target_q(probe.batch.actions, probe.batch.observations)
    measured = float(torch.stack(values).abs().max())
    numbers = f"|Q| reaches {measured:.3g}, where rewards and discount allow {limit:.3g}"
    remedy = (
        ": the critic diverges; lower critic.expectile or critic.learning_rate, and see that the "
        "data marks its terminals and that its rewards are scaled (rewards)"
    )
    return Finding.of(CriticStage.name, measured, limit, numbers, remedy)
