"""TD3+BC (Fujimoto and Gu, 2021): TD3 whose policy also clones the data."""

import copy
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, final

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn
from typing_extensions import Self, override

from scoreregs.arguments import named_calls
from scoreregs_offline_rl.configuration import Count, NotNegative, Positive, Share, Within
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.stages.actor import ActorConfig, ActorStage
from scoreregs_offline_rl.stages.networks import DiracPolicy, EnsembleQ
from scoreregs_offline_rl.stages.optimizers import adam
from scoreregs_offline_rl.stages.stage import Context, Curve, Metrics, Randoms

__all__ = ["TD3BCConfig", "TD3BCStage"]


@named_calls
@dataclass(frozen=True)
class TD3BCConfig(ActorConfig):
    """TD3+BC, with a critic of its own; its learning rate stays as it is."""

    alpha: NotNegative = 2.5
    """How much Q counts, at least 0; 0 is cloning."""
    discount: Annotated[float, Within("[0, 1)")] = 0.99
    """Discount of a step, in [0, 1)."""
    target_rate: Share = 0.005
    """Share of the new networks in their moving averages, in (0, 1]."""
    noise: NotNegative = 0.2
    """Standard deviation of the noise on the next action, of actions in [-1, 1]."""
    noise_clip: Positive = 0.5
    """Largest such noise."""
    layer_norm: bool = False
    """Whether the critics' hidden layers are normalised."""
    policy_every: Count = 2
    """Steps of the critics for one of the policy and of the averages."""


@named_calls
@final
class TD3BCStage(ActorStage[TD3BCConfig]):
    r"""Twin critics, a policy and their moving averages (primed).

    $$ a' = \mathrm{clip}(\pi'(s') + \mathrm{clip}(\mathrm{noise}), -1, 1), \qquad
       y = r + \mathrm{discount}\, (1 - \mathrm{terminal}) \min_i Q_i'(s', a') $$
    $$ L_Q = \mathbb E \sum_i (Q_i(s, a) - y)^2, \qquad
       L_\pi = \mathbb E\, (\pi(s) - a)^2 - \lambda\, \mathbb E\, Q_1(s, \pi(s)), \qquad
       \lambda = \mathrm{alpha} / \mathbb E\, |Q_1(s, \pi(s))| $$

    The first mean of $L_\pi$ is also over the action's dimensions; lambda is held constant. Both
    are taken at the parameters before the step, $L_\pi$ and averages every `policy_every` steps. Of
    several processes each has the lambda of its own rows.

    Args:
        policy: the policy that is trained.
        q: the critics that are trained.
        config: settings.

    References:
        Fujimoto and Gu, A Minimalist Approach to Offline Reinforcement Learning, NeurIPS 2021.
    """

    name = "td3_bc"
    label = "TD3+BC"
    help = "Train TD3+BC, which has a critic of its own, to compare with."
    colour = "#009E73"
    curve = Curve("q", "its own Q of the data's actions")
    idles = True
    taken: Tensor

    def __init__(self, policy: DiracPolicy, q: EnsembleQ, config: TD3BCConfig) -> None:
        super().__init__(policy, config)
        self.q = q
        self.target_policy = copy.deepcopy(policy).requires_grad_(False)
        self.target_q = copy.deepcopy(q).requires_grad_(False)
        self.register_buffer("taken", torch.zeros(1, dtype=torch.int64))
        # Read from `taken` once, so that no step waits for the device.
        self._step: int | None = None
        self.register_load_state_dict_post_hook(_count_anew)

    @override
    @classmethod
    def build(cls, context: Context[TD3BCConfig]) -> Self:
        policy, config = cls.new_policy(context), context.config
        sizes = context.observation_size, context.action_size
        layers, width = config.layers or 2, config.width or 256
        q = EnsembleQ(*sizes, layers=layers, width=width, layer_norm=config.layer_norm)
        return cls(policy, q, config)

    @property
    @override
    def phase(self) -> bool:
        """Whether the step moves the policy."""
        return self._moves_policy()

    @override
    def draw(self, batch_size: int, generator: Generator) -> Randoms:
        """Returns noise on the next action, (batch, a), clipped."""
        config, size = self.config, self.policy.action_size
        noise = torch.randn(batch_size, size, generator=generator, device=generator.device)
        return {"noise": (config.noise * noise).clamp(-config.noise_clip, config.noise_clip)}

    @override
    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        backup = self.backup(batch, randoms["noise"])
        q1, q2 = self.q(batch.actions, batch.observations)
        loss = (q1 - backup).square().mean(-1) + (q2 - backup).square().mean(-1)
        metrics = {"q_loss": loss, "q": q1.mean(-1)}
        if self._moves_policy():
            loss = loss + self.policy_loss(batch)
        metrics = {"loss": loss, **metrics}
        return loss, {name: metric.detach() for name, metric in metrics.items()}

    @torch.no_grad()
    def backup(self, batch: Batch, noise: Tensor) -> Tensor:
        """Returns the critics' target y (batch,), for clipped noise (batch, a)."""
        action = (self.target_policy(batch.next_observations) + noise).clamp(-1, 1)
        value = self.target_q.minimum(action, batch.next_observations)
        return batch.rewards + self.config.discount * value * ~batch.terminals

    def policy_loss(self, batch: Batch) -> Tensor:
        """Returns L_pi, whose gradient the critics do not get."""
        action = self.policy(batch.observations)
        # The value's gradient at a detached action: the critics learn from L_Q alone.
        with torch.enable_grad():
            at = action.detach().requires_grad_()
            q1, _ = self.q(at, batch.observations)
            (gradient,) = torch.autograd.grad(q1.sum(), at)
        size = q1.detach().abs().mean(-1, keepdim=True)
        climbed = (gradient.detach() * action).sum(-1)
        cloned = (action - batch.actions).square().mean(-1)
        return (cloned - self.config.alpha / size * climbed).mean(-1)

    @override
    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """Returns Adam for policy and critics, at a constant learning rate."""
        parameters = chain(self.policy.parameters(), self.q.parameters())
        return adam(parameters, self.config.learning_rate), None

    @override
    @torch.no_grad()
    def after_step(self) -> None:
        if self._moves_policy():
            targets = chain(self.target_policy.parameters(), self.target_q.parameters())
            sources = chain(self.policy.parameters(), self.q.parameters())
            average = get_ema_multi_avg_fn(1 - self.config.target_rate)
            average(tuple(targets), tuple(sources), 0)
        self.taken += 1
        self._step = self._counted() + 1

    def _counted(self) -> int:
        if self._step is None:
            self._step = int(self.taken.flatten()[0])
        return self._step

    def _moves_policy(self) -> bool:
        return (self._counted() + 1) % self.config.policy_every == 0


def _count_anew(stage: TD3BCStage, incompatible: object) -> None:
    del incompatible
    stage._step = None
