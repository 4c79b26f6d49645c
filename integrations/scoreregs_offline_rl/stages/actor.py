"""What stages whose outcome is a policy share."""

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import Self, override

from scoreregs import ScorePrior
from scoreregs.arguments import named_calls
from scoreregs_offline_rl.configuration import Count, Positive, Share, check_settings
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.stages.finding import Finding
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.optimizers import adam, cosine_decay
from scoreregs_offline_rl.stages.probe import Probe, Probes
from scoreregs_offline_rl.stages.stage import Context, Given, Stage
from scoreregs_offline_rl.stages.value import Value

__all__ = ["ActorConfig", "ActorStage", "check_policy"]

# One initialisation for all, so that methods differ in nothing else.
_INITIAL = "policy"
_SHARE_OUTSIDE = 0.5


@named_calls
@dataclass(frozen=True)
class ActorConfig:
    """What every policy has; None is what the policy of Eq. 15 has."""

    steps: Count | None = None
    """Gradient steps, over which the learning rate decays to zero; None: as many as the policy
    stage."""
    batch_size: Count = 256
    """Transitions of a step, over all processes."""
    learning_rate: Positive = 3e-4
    """Of Adam, at the start."""
    layers: Count | None = None
    """Hidden layers; None: as many as the policy stage's."""
    width: Count | None = None
    """Units of a hidden layer; None: as many as the policy stage's."""
    policies: Count = 1
    """Policies that are trained side by side, from unlike initial weights on unlike rows; they act
    by their mean."""
    return_share: Share | None = None
    """Effective share of the rows, in (0, 1], when episodes of higher return are drawn more often;
    None: all rows alike, each once an epoch."""

    def __post_init__(self) -> None:
        check_settings(self)


C = TypeVar("C", bound=ActorConfig)


class ActorStage(Stage[C]):
    """A stage whose outcome is a policy, abstract in its loss alone.

    Its optimiser is Adam with a cosine decay to zero. In a sweep there is one for each seed, and
    with `follows_beta` one for each temperature too.

    Args:
        policy: the policy that is trained.
        config: settings without None, see `scoreregs_offline_rl.runs.resolution`.
        given: what it builds on; it is only read.
    """

    def __init__(self, policy: DiracPolicy, config: C, given: Given | None = None) -> None:
        super().__init__(config)
        self.policy = policy
        self.receive(Given() if given is None else given)

    @override
    @classmethod
    def build(cls, context: Context[C]) -> Self:
        return cls(cls.new_policy(context), context.config, context.given)

    @classmethod
    def new_policy(cls, context: Context[Any]) -> DiracPolicy:
        """Returns a policy with its initial weights, from the global generator."""
        config = context.config
        sizes = context.observation_size, context.action_size
        return DiracPolicy(*sizes, layers=config.layers or 2, width=config.width or 256)

    @override
    @classmethod
    def initial_stream(cls) -> str:
        return _INITIAL

    @override
    def receive(self, given: Given) -> None:
        # Not a module: what it builds on is neither trained nor saved here.
        self.given = given

    @property
    def value(self) -> Value:
        """Q and V of the finished `ValueStage`.

        Raises:
            RunError: the stage does not name one among its `needs`.
        """
        if self.given.value is None:
            raise RunError(_not_given(self, "value", "ValueStage"))
        return self.given.value

    @property
    def prior(self) -> ScorePrior:
        """The prior of the finished `PriorStage`.

        Raises:
            RunError: the stage does not name one among its `needs`.
        """
        if self.given.prior is None:
            raise RunError(_not_given(self, "prior", "PriorStage"))
        return self.given.prior

    @override
    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """Returns Adam, with a cosine decay to zero over the run."""
        optimizer = adam(self.policy.parameters(), self.config.learning_rate)
        return optimizer, cosine_decay(optimizer, self.config.steps or 1)

    @override
    def check(self, probes: Probes) -> Finding | None:
        return self.judge(self.policy, probes)

    def judge(self, policy: nn.Module, probes: Probes) -> Finding | None:
        """Returns whether a policy of this stage stays where its prior, if any, has seen data.

        Args:
            policy: its own, or the mean of several.
            probes: what it is judged on.
        """
        if self.given.prior is None:
            return None
        return check_policy(self.name, policy, self.given.prior, probes.held)


@torch.no_grad()
def check_policy(name: str, policy: Any, prior: ScorePrior, probe: Probe) -> Finding:
    """Returns whether a policy's actions look to the behavior model like those of the data.

    The number is the share of states where the error of the policy's action lies above the 95 %
    quantile of that of the data's actions; the limit is one half. Beside it stands the mean error
    at the policy's actions over that at the data's, far above 1 for absurd ones.

    Args:
        name: of the policy's stage.
        policy: scaled observations (batch, o) to actions (batch, a) in [-1, 1].
        prior: the behavior model.
        probe: rows that it was not trained on.
    """
    of_data: Tensor = probe.errors(prior, probe.batch.actions)
    of_policy = probe.errors(prior, policy(probe.batch.observations))
    measured = float((of_policy > of_data.quantile(0.95)).double().mean())
    numbers = (
        f"{measured:.0%} of the policy's actions are less likely than 95 % of the data's "
        f"({_SHARE_OUTSIDE:.0%} allowed)"
    )
    remedy = (
        ": the policy leaves the data's support; lower beta, and see that critic and behavior "
        "model passed their checks"
    )
    ratio = float(of_policy.mean() / of_data.mean())
    return Finding.of(name, measured, _SHARE_OUTSIDE, numbers, remedy, prior_error_ratio=ratio)


def _not_given(stage: Stage[Any], what: str, kind: str) -> str:
    return (
        f"got the {stage.name} stage, which asks for a {what}, and none was given: name {kind} "
        "among its `needs`"
    )
