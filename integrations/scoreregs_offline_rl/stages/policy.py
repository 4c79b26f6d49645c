"""The extraction of the policy (Eq. 15)."""

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from einops import rearrange
from torch import Generator, Tensor
from typing_extensions import Self, override

from scoreregs import ScorePrior
from scoreregs.arguments import named_calls
from scoreregs.baselines import BaselineName
from scoreregs.kernel import BetaPlacement, Normalization
from scoreregs.times import PointsName, TimesName
from scoreregs.weightings import WeightingName
from scoreregs_offline_rl.configuration import Count, Finite, NotNegative, Positive, require
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.stages.actor import ActorConfig, ActorStage
from scoreregs_offline_rl.stages.cloning import CloningStage
from scoreregs_offline_rl.stages.networks import DiracPolicy
from scoreregs_offline_rl.stages.plug_ins import PlugIns
from scoreregs_offline_rl.stages.stacking import StackedPrior
from scoreregs_offline_rl.stages.stage import (
    UNMOVED,
    Context,
    Curve,
    Given,
    Metrics,
    PriorStage,
    Randoms,
    Stage,
    ValueStage,
)
from scoreregs_offline_rl.stages.value import Value

__all__ = ["PolicyConfig", "PolicyStage"]


@named_calls
@dataclass(frozen=True)
class PolicyConfig(ActorConfig):
    """The extraction of the policy, Eq. 15."""

    steps: Count = 1_000_000  # pyright: ignore[reportIncompatibleVariableOverride]
    """Gradient steps, over which the learning rate decays to zero."""
    layers: Count = 2  # pyright: ignore[reportIncompatibleVariableOverride]
    """Hidden layers; the paper takes 4 for AntMaze."""
    width: Count = 256  # pyright: ignore[reportIncompatibleVariableOverride]
    """Units of a hidden layer."""
    times: tuple[float, float] = (0.02, 0.98)
    """Diffusion times lie between these."""
    log_snr: tuple[Finite, Finite] | None = None
    """Range of the log-SNR in place of `times`, which means the same for every schedule."""
    sampler: TimesName = "uniform"
    """How times are distributed over their range."""
    points: PointsName = "independent"
    """How times are spread over a batch; the latter two are even, for a smaller variance."""
    draws: Count = 1
    """Times and noises that the prior's gradient is averaged over for each observation."""
    weighting: WeightingName = "sigma2"
    """Weight of the prior over time."""
    baseline: BaselineName = "noise"
    """What is subtracted from the prior's noise prediction."""
    through_prior: bool = False
    """Whether the prior's gradient keeps the Jacobian of the behavior model, which Eq. 15 leaves
    out: the trust region of DTQL, for a `noise` baseline."""
    normalize: Normalization | None = None
    """Norm of the value's gradient that beta is relative to: of each row (l2, rms), of the batch,
    or of the row but at least the batch's median (clipped); None: beta is absolute."""
    beta_choices: tuple[Positive, ...] | None = None
    """Temperatures in rising order, of which a run that is given none takes the largest that stays
    near the data: where the prior's error, at little noise, is at most 1 % above that at the
    actions of the clone that the policy starts from. None, and for one that starts from none: it
    has to be given, or known."""
    beta_from: Positive | None = None
    """Multiple of beta that training begins with, which falls geometrically to 1 by half of the
    steps: the value first, the prior later; None: beta throughout."""
    prior_error_ratio: Positive | None = None
    """The prior's error at the policy's actions that is allowed, as a multiple of that at the
    data's: beta, then only a start, is found by dual ascent; None: beta is as given."""
    data_weight: NotNegative = 0.0
    """Weight of the data's own action beside the prior: half the square distance to it is added."""
    start: Literal["random", "cloning"] = "random"
    """Whether the policy starts from weights of its own or from those of the cloning stage."""
    beta_on: BetaPlacement = "prior"
    """Whether the prior is divided by beta (the paper) or the value multiplied (its code)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        both = self.beta_from is not None and self.prior_error_ratio is not None
        require(
            not both,
            "policy.beta_from and policy.prior_error_ratio",
            (self.beta_from, self.prior_error_ratio),
            "one of them at most, as both say what beta is",
        )
        choices = self.beta_choices
        rising = choices is None or (len(choices) > 1 and sorted({*choices}) == [*choices])
        require(rising, "policy.beta_choices", choices, "two or more, in rising order")
        both = choices is not None and self.prior_error_ratio is not None
        told = (choices, self.prior_error_ratio)
        expected = "one of them at most, as both find beta"
        require(not both, "policy.beta_choices and policy.prior_error_ratio", told, expected)
        low, high = self.times
        require(0 <= low < high <= 1, "policy.times", self.times, "0 <= low < high <= 1")
        both = self.log_snr is None or self.log_snr[0] < self.log_snr[1]
        require(both, "policy.log_snr", self.log_snr, "a lower and a higher log-SNR")


@named_calls
@final
class PolicyStage(ActorStage[PolicyConfig]):
    """A deterministic policy that climbs Q and stays where the behavior model puts the data.

    The action's gradient is minus the bracket of Eq. 15.

    Args:
        policy: the policy that is trained.
        value: Q of scaled observations and actions in [-1, 1]; it is only read.
        prior: the behavior model of such actions, likewise.
        config: settings.
        beta: temperature, above 0.

    Raises:
        ArgumentError: a setting is out of its range for the prior's schedule.
    """

    name = "policy"
    label = "SRPO"
    help = "Train the policy of a run, on its finished critic and behavior model."
    colour = "#0072B2"
    curve = Curve("q", "Q of the policy's actions")
    needs = (ValueStage, PriorStage)
    usual = True
    follows_beta = True
    taken: Tensor

    def __init__(
        self,
        policy: DiracPolicy,
        value: Value,
        prior: ScorePrior,
        config: PolicyConfig,
        *,
        beta: float,
    ) -> None:
        super().__init__(policy, config, Given(value, prior, beta))
        if config.beta_from is not None:
            self.register_buffer("taken", torch.zeros(1, dtype=torch.int64))

    @classmethod
    def chooses_beta(cls, config: PolicyConfig) -> bool:
        """Returns whether it has temperatures to choose from, and a clone to compare with."""
        return config.beta_choices is not None and config.start == "cloning"

    @override
    @classmethod
    def needs_for(cls, config: PolicyConfig) -> tuple[type[Stage[Any]], ...]:
        return cls.needs if config.start == "random" else (*cls.needs, CloningStage)

    @override
    @classmethod
    def build(cls, context: Context[PolicyConfig]) -> Self:
        given = context.given
        policy: Any = cls.new_policy(context)
        if given.start is not None:
            sizes = [{k: v.shape for k, v in s.items()} for s in (given.start, policy.state_dict())]
            if sizes[0] != sizes[1]:
                raise RunError(
                    "got a clone of other sizes than the policy that starts from it, expected the "
                    "same: leave out --cloning.layers and --cloning.width"
                )
            policy.load_state_dict(given.start)
        value: Any = given.value
        return cls(policy, value, given.prior, context.config, beta=given.beta)  # pyright: ignore

    @override
    def receive(self, given: Given) -> None:
        """Makes the objective: of one policy, or of stacked ones with a temperature each."""
        super().receive(given)
        beta, prior = given.beta, self.prior
        members = len(beta) if isinstance(beta, Tensor) else None
        if isinstance(prior, StackedPrior):
            prior = prior.of_draws(self.config.draws)
        self.plug_ins = PlugIns.of(self.config, prior.schedule, members)
        temperature = self.plug_ins.temperature(beta)
        self.betas = beta if isinstance(beta, Tensor) and temperature is None else None
        self.objective = self.plug_ins.objective(self.value, prior, temperature or 1.0)

    @override
    def draw(self, batch_size: int, generator: Generator) -> Randoms:
        """Returns times t (batch, draws), see `PlugIns.draw`, and noise (batch, draws, a)."""
        device = generator.device
        t = self.plug_ins.draw(batch_size, device, generator)
        size = batch_size, self.config.draws, self.policy.action_size
        return {"t": t, "noise": torch.randn(size, generator=generator, device=device)}

    @override
    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        """Returns the objective's loss at the policy's actions; the data's own play no part."""
        observations = batch.observations
        # A forward pass in low precision ends here: x_t = alpha a + sigma eps needs more digits.
        action = self.policy(observations).to(observations.dtype)
        members = action.shape[:-2]
        result = self.objective(
            action.flatten(0, len(members)),
            observations.flatten(0, len(members)),
            t=self.plug_ins.at(rearrange(randoms["t"], "... b d -> d (... b)")),
            noise=rearrange(randoms["noise"], "... b d a -> d (... b) a"),
            beta=self._betas(action),
            data=batch.actions.flatten(0, len(members)) if self._learns_beta else None,
        )
        gradient = result.gradient.norm(dim=-1)
        # Where it is known that all moved there is nothing to count.
        none = torch.zeros_like(gradient)
        unmoved = none if result.unmoved is None else result.unmoved.to(gradient.dtype)
        loss, q, gradient, unmoved = (
            numbers.unflatten(0, (*members, -1)).mean(-1)
            for numbers in (result.loss, result.value, gradient, unmoved)
        )
        if self.config.data_weight > 0:
            distance = (action - batch.actions).square().sum(-1).mean(-1)
            loss = loss + self.config.data_weight / 2 * distance
        return loss, {"q": q, "gradient": gradient, UNMOVED: unmoved}

    @override
    def after_step(self) -> None:
        if self.config.beta_from is not None:
            self.taken += 1

    @property
    def _learns_beta(self) -> bool:
        return self.config.prior_error_ratio is not None

    def _betas(self, action: Tensor) -> Tensor | None:
        """Returns the temperature of every row of (*members, batch, a); None: the objective's."""
        betas, start = self.betas, self.config.beta_from
        if betas is None and start is not None:
            betas = action.new_full((1,), float(self.given.beta or 1.0), dtype=torch.float64)
        if betas is None:
            return None
        if start is not None:
            done = 2 * self.taken.flatten()[0].double() / self.config.steps
            betas = betas * start ** (1 - done.clamp(max=1))
        return betas.repeat_interleave(action.shape[-2])
