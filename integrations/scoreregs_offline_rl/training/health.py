"""Three checks of a run that need no simulator: critic, behavior model, policy.

Each compares a number with a limit on a fixed probe of rows, times and noise:

- critic: the largest |Q| of the data, against 1.5 max|r| / (1 - discount), half as much again as
  any return can be;
- behavior: the mean denoising error on rows that were kept out of training, against 1.25 times that
  of the best Gaussian N(W s + b, Sigma) of the training rows, plus twice the standard error of
  their difference. The quarter is for data that is Gaussian, where no model is better;
- policy: the share of states where the behavior model's error at the policy's action lies above the
  95 % quantile of its error at the data's actions, against one half.

The error of an action a is E_t |eps_hat(alpha_t a + sigma_t eps | s, t) - eps|^2 per dimension,
with t spread evenly over [0.02, 0.98].
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from scoreregs_offline_rl.data.transitions import Transitions
from scoreregs_offline_rl.runs.configuration import TrainConfig
from scoreregs_offline_rl.stages.behavior import behavior_prior
from scoreregs_offline_rl.stages.critic import Critic
from scoreregs_offline_rl.stages.networks import BehaviorNetwork
from scoreregs_offline_rl.training.probe import Epsilon, GaussianActions, Probe, held_rows

__all__ = [
    "Finding",
    "HealthChecks",
    "Monitor",
    "check_behavior",
    "check_critic",
    "check_policy",
    "largest_q_allowed",
]

logger = logging.getLogger(__name__)

_Q_MARGIN = 1.5
_GAUSSIAN_MARGIN = 1.25
_SHARE_OUTSIDE = 0.5


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: `critic`, `behavior` or `policy`.
        measured: The number that the check is about.
        limit: What it should not exceed.
        message: One line with both; where the limit is exceeded it names the remedy.
    """

    check: str
    measured: float
    limit: float
    message: str

    @property
    def ok(self) -> bool:
        """Whether the number is within the limit; one that is not finite never is."""
        return self.measured <= self.limit


class HealthChecks:
    """The three checks on the data of a run, with their probes.

    Args:
        data: Scaled transitions, on the device of the models.
        config: Of the run.
    """

    def __init__(self, data: Transitions, config: TrainConfig) -> None:
        self._data = data
        self._config = config
        self.trained_rows, held = held_rows(len(data), config.behavior.held_out, config.seed)
        """The rows that the behavior model is trained on."""
        self._held = Probe.draw(data, held, config.seed)
        self._trained = Probe.draw(data, self.trained_rows, config.seed)
        self._limit = largest_q_allowed(data.rewards, config.critic.discount)

    @cached_property
    def _gaussian(self) -> GaussianActions:
        data = self._data
        rows = self.trained_rows.to(data.actions.device)
        return GaussianActions.fit(data.observations, data.actions, rows)

    def critic(self, critic: Critic) -> Finding:
        """Whether its Q stays within what rewards and discount allow."""
        return check_critic(critic, self._trained, self._limit)

    def behavior(self, network: BehaviorNetwork) -> Finding:
        """Whether it fits better than a Gaussian."""
        epsilon = behavior_prior(network).epsilon
        return check_behavior(epsilon, self._gaussian, self._held, self._trained)

    def policy(self, policy: nn.Module, network: BehaviorNetwork) -> Finding:
        """Whether it stays where the behavior model has seen data."""
        return check_policy(policy, behavior_prior(network).epsilon, self._held)


class Monitor:
    """A check that a stage passes while it trains; the first failure is logged in one line.

    Args:
        check: The check.
        first_step: Steps after which a failure means something.
        label: Of a member of several that are trained at once.
    """

    def __init__(
        self, check: Callable[[], Finding], *, first_step: int = 0, label: str = ""
    ) -> None:
        self._check = check
        self._label = label
        self._first_step = first_step
        self._told = False

    def __call__(self, step: int) -> dict[str, float]:
        """The check's numbers, as metrics."""
        finding = self._check()
        if not finding.ok and step >= self._first_step and not self._told:
            of_member = self._label and f" of {self._label}"
            logger.warning(
                "%s stage%s, step %d: %s", finding.check, of_member, step, finding.message
            )
            self._told = True
        suffix = self._label and f"/{self._label}"
        numbers = {"health_measured": finding.measured, "health_limit": finding.limit}
        return {name + suffix: number for name, number in numbers.items()}


def largest_q_allowed(rewards: Tensor, discount: float) -> float:
    """1.5 max|r| / (1 - discount), of rewards (N,) as the critic sees them."""
    return _Q_MARGIN * float(rewards.abs().max()) / (1 - discount)


@torch.no_grad()
def check_critic(critic: Critic, probe: Probe, limit: float) -> Finding:
    """Whether |Q| of the data stays below a limit, `largest_q_allowed`."""
    q1, q2 = critic.target_q(probe.batch.actions, probe.batch.observations)
    measured = float(torch.maximum(q1.abs(), q2.abs()).max())
    numbers = f"|Q| reaches {measured:.3g}, where rewards and discount allow {limit:.3g}"
    remedy = (
        ": the critic diverges; lower critic.expectile or critic.learning_rate, and see that the "
        "data marks its terminals and that its rewards are scaled (rewards)"
    )
    return _finding("critic", measured, limit, numbers, remedy)


def check_behavior(
    epsilon: Epsilon, gaussian: GaussianActions, held: Probe, trained: Probe
) -> Finding:
    """Whether a behavior model denoises held-out actions better than a Gaussian does.

    Args:
        epsilon: The behavior model.
        gaussian: The best Gaussian of the rows of training.
        held: Rows that were kept out; they decide.
        trained: Rows of training; they tell memorising from too little training.
    """
    model = held.errors(epsilon, held.batch.actions)
    reference = _GAUSSIAN_MARGIN * held.errors(gaussian, held.batch.actions)
    spread = float((model - reference).std(correction=0)) / len(model) ** 0.5
    measured, limit = float(model.mean()), float(reference.mean()) + 2 * spread
    numbers = f"denoising error {measured:.3g}, {limit:.3g} is what a Gaussian comes to at worst"
    if float(trained.errors(epsilon, trained.batch.actions).mean()) < limit:
        remedy = (
            ": the behavior model has learnt its rows by heart; take fewer behavior.steps, a "
            "smaller behavior.width, more behavior.dropout or more data"
        )
    else:
        remedy = (
            ": the behavior model fits worse than a Gaussian; take more behavior.steps, and leave "
            "normalize_observations on"
        )
    return _finding("behavior", measured, limit, numbers, remedy)


@torch.no_grad()
def check_policy(policy: Callable[[Tensor], Tensor], epsilon: Epsilon, probe: Probe) -> Finding:
    """Whether a policy's actions look to the behavior model like those of the data."""
    of_data = probe.errors(epsilon, probe.batch.actions)
    of_policy = probe.errors(epsilon, policy(probe.batch.observations))
    measured = float((of_policy > of_data.quantile(0.95)).double().mean())
    numbers = (
        f"{measured:.0%} of the policy's actions are less likely than 95 % of the data's "
        f"({_SHARE_OUTSIDE:.0%} allowed)"
    )
    remedy = (
        ": the policy leaves the data's support; lower beta, and see that critic and behavior "
        "model passed their checks"
    )
    return _finding("policy", measured, _SHARE_OUTSIDE, numbers, remedy)


def _finding(check: str, measured: float, limit: float, numbers: str, remedy: str) -> Finding:
    good = measured <= limit
    return Finding(check, measured, limit, numbers if good else numbers + remedy)
