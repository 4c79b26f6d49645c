"""The behavior model: a diffusion model of the data's actions (Eq. 13)."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, final

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn
from typing_extensions import Self, override

from scoreregs import (
    CosineSchedule,
    EDMPrior,
    NetworkPrior,
    NoiseSchedule,
    RectifiedFlowSchedule,
    ScorePrior,
    VPSchedule,
)
from scoreregs.arguments import named_calls
from scoreregs.kernel import denoising_loss
from scoreregs.predictions import PredictionName
from scoreregs.times import named_times
from scoreregs_offline_rl.configuration import (
    Count,
    Natural,
    NotNegative,
    Positive,
    Share,
    Within,
    check_settings,
    require,
)
from scoreregs_offline_rl.data.transitions import Batch
from scoreregs_offline_rl.stages.finding import Finding
from scoreregs_offline_rl.stages.networks import BehaviorNetwork
from scoreregs_offline_rl.stages.optimizers import adamw, cosine_decay
from scoreregs_offline_rl.stages.probe import Probe, Probes
from scoreregs_offline_rl.stages.small_network import SmallBehaviorNetwork
from scoreregs_offline_rl.stages.stacking import by_member
from scoreregs_offline_rl.stages.stage import Context, Curve, Metrics, PriorStage, Randoms

__all__ = ["NETWORKS", "SCHEDULES", "BehaviorConfig", "BehaviorStage", "check_behavior"]

# For data that is Gaussian, where no model is better than the best Gaussian.
_GAUSSIAN_MARGIN = 1.25
_LOG_SNR_RANGE = 27.63

ScheduleName = Literal["vp", "cosine", "rectified_flow"]
SCHEDULES: dict[ScheduleName, Callable[[], NoiseSchedule]] = {
    "vp": VPSchedule,
    "cosine": CosineSchedule,
    "rectified_flow": RectifiedFlowSchedule,
}
"""The noise schedules of a behavior model, by name."""
NetworkName = Literal["paper", "small"]
NETWORKS: dict[NetworkName, Callable[..., BehaviorNetwork | SmallBehaviorNetwork]] = {
    "paper": BehaviorNetwork,
    "small": SmallBehaviorNetwork,
}
"""The networks of a behavior model, by name."""


@named_calls
@dataclass(frozen=True)
class BehaviorConfig:
    """The diffusion model of the data's actions."""

    steps: Count = 2_000_000
    """Gradient steps."""
    batch_size: Count = 2048
    """Transitions of a step, over all processes."""
    learning_rate: Positive = 3e-4
    """Of AdamW."""
    decay: bool = False
    """Whether the learning rate falls to zero over the run, by a cosine: for runs of few steps."""
    weight_decay: NotNegative = 0.01
    """Of AdamW."""
    dropout: Annotated[float, Within("[0, 1)")] = 0.1
    """Share of a block's inputs that is dropped in training, in [0, 1)."""
    blocks: Count = 3
    """Residual blocks."""
    width: Count = 256
    """Units of a block."""
    network: NetworkName = "paper"
    """The paper's, or a small one that is told the log-SNR, for minutes on a CPU."""
    schedule: ScheduleName = "vp"
    """Noise schedule."""
    prediction: PredictionName = "epsilon"
    """What the network returns, if it is not preconditioned."""
    preconditioning: Literal["none", "edm"] = "none"
    """Whether the network's input and output are scaled by the noise level as in EDM."""
    first_time: Annotated[float, Within("(0, 1)")] = 1e-3
    """Times lie between this and 1."""
    sampler: Literal["uniform", "log_snr", "log_normal"] = "uniform"
    """How times are distributed: uniform in t, in the log-SNR, or as EDM is trained."""
    average_rate: Share | None = None
    """Share of the new network in its moving average, in (0, 1], which then is the prior; None: the
    network itself is."""
    held_out: Natural = 1024
    """Rows that are kept out of training to judge the fit by, at most a twentieth of the data; 0:
    it is judged by rows of training."""
    return_share: Share | None = None
    """Effective share of the rows, in (0, 1], when episodes of higher return are drawn more often;
    None: all rows alike, each once an epoch."""
    weights: str | None = None
    """Finished weights to take instead of training: the directory of another run on the same data,
    or a checkpoint of the paper's code."""

    def __post_init__(self) -> None:
        check_settings(self)
        require(
            self.preconditioning == "none" or self.prediction == "epsilon",
            "behavior.prediction",
            self.prediction,
            "none beside --behavior.preconditioning edm, which says what the network returns",
        )


@named_calls
@final
class BehaviorStage(PriorStage[BehaviorConfig]):
    r"""Denoising score matching of the actions given the observations.

    $$ L = \mathbb E\, \| \hat y(\alpha_t a + \sigma_t \epsilon \mid s, t) - y \|^2,
       \qquad t \sim U(\mathrm{first\_time}, 1) $$

    summed over the action's dimensions, with dropout; y is the target of the prediction type, the
    noise in Eq. 13. Defaults: Appendix C.

    Args:
        observation_size: number of observation dimensions.
        action_size: number of action dimensions.
        config: sizes and settings.

    Raises:
        ArgumentError: the prediction type is unknown.
    """

    name = "behavior"
    label = "behavior model"
    help = "Train the behavior model of a run: a diffusion model of the data's actions."
    curve = Curve("loss", "denoising loss, Eq. 13")
    usual = True
    identity = ("schedule", "prediction", "preconditioning", "network")

    def __init__(self, observation_size: int, action_size: int, config: BehaviorConfig) -> None:
        super().__init__(config)
        self.network = NETWORKS[config.network](
            observation_size, action_size, blocks=config.blocks, width=config.width
        )
        if config.average_rate is not None:
            self.average = copy.deepcopy(self.network).requires_grad_(False)
        self._action_size = action_size
        schedule = self._prior_of(self.network).schedule
        # The log-SNR of most schedules has no end at t = 1.
        last = 1 - config.first_time if config.sampler == "log_snr" else 1.0
        self._times = named_times(config.sampler, schedule, (config.first_time, last))

    @override
    @classmethod
    def build(cls, context: Context[BehaviorConfig]) -> Self:
        return cls(context.observation_size, context.action_size, context.config)

    @override
    @classmethod
    def held_out(cls, config: BehaviorConfig) -> int:
        return config.held_out

    @property
    @override
    def prior(self) -> ScorePrior:
        averaged = self.config.average_rate is not None
        return self._prior_of(self.average if averaged else self.network)

    @override
    def draw(self, batch_size: int, generator: Generator) -> Randoms:
        """Returns t (batch,), noise (batch, a) and dropout masks (batch, blocks, width)."""
        config, device = self.config, generator.device
        randoms = {
            "t": self._times.sample(1, batch_size, device, generator)[0],
            "noise": torch.randn(batch_size, self._action_size, generator=generator, device=device),
        }
        if config.dropout > 0:
            shape = (batch_size, config.blocks, config.width)
            kept = torch.rand(shape, generator=generator, device=device) >= config.dropout
            randoms["dropout_masks"] = kept / (1 - config.dropout)
        return randoms

    @override
    def forward(self, batch: Batch, randoms: Randoms) -> tuple[Tensor, Metrics]:
        network = partial(self.network, dropout_masks=randoms.get("dropout_masks"))
        members = batch.actions.shape[:-2]
        prior = self._prior_of(by_member(network, members))
        rows = (batch.actions, batch.observations, randoms["t"], randoms["noise"])
        errors = denoising_loss(prior, *(tensor.flatten(0, len(members)) for tensor in rows))
        loss = errors.unflatten(0, (*members, -1)).mean(-1)
        return loss, {"loss": loss.detach()}

    @override
    def optimizer(self) -> tuple[Optimizer, LRScheduler | None]:
        """Returns AdamW, at a constant learning rate unless the settings say otherwise."""
        config = self.config
        optimizer = adamw(self.network.parameters(), config.learning_rate, config.weight_decay)
        return optimizer, cosine_decay(optimizer, config.steps) if config.decay else None

    @override
    def check(self, probes: Probes) -> Finding:
        """Returns whether it fits held-out rows better than a Gaussian."""
        gaussian = probes.gaussian.under(self.prior.schedule)
        return check_behavior(self.prior, gaussian, probes.held, probes.trained)

    @override
    @torch.no_grad()
    def after_step(self) -> None:
        if (rate := self.config.average_rate) is not None:
            averages, weights = (tuple(n.parameters()) for n in (self.average, self.network))
            get_ema_multi_avg_fn(1 - rate)(averages, weights, 0)

    def _prior_of(self, network: Callable[..., Tensor]) -> ScorePrior:
        """Returns a network as a prior: the one place that knows what it takes and returns."""
        config = self.config
        schedule = SCHEDULES[config.schedule]()
        if config.preconditioning == "edm":
            return EDMPrior(network, schedule)
        told = partial(_noise_variable, schedule) if config.network == "small" else None
        return NetworkPrior(network, schedule, config.prediction, told)


def _noise_variable(schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """Returns ln(sigma / alpha) / 4, as a small network is told the time; finite at both ends."""
    return -schedule.log_snr(t).clamp(-_LOG_SNR_RANGE, _LOG_SNR_RANGE) / 8


def check_behavior(prior: ScorePrior, gaussian: ScorePrior, held: Probe, trained: Probe) -> Finding:
    """Returns whether a behavior model denoises held-out actions better than a Gaussian does.

    The limit is 1.25 times the Gaussian's error, plus twice the standard error of the difference.

    Args:
        prior: the behavior model.
        gaussian: the best Gaussian of the rows of training.
        held: rows that were kept out; they decide.
        trained: rows of training; they tell memorising from too little training.
    """
    model = held.errors(prior, held.batch.actions)
    reference = _GAUSSIAN_MARGIN * held.errors(gaussian, held.batch.actions)
    spread = float((model - reference).std(correction=0)) / len(model) ** 0.5
    measured, limit = float(model.mean()), float(reference.mean()) + 2 * spread
    numbers = f"denoising error {measured:.3g}, {limit:.3g} is what a Gaussian comes to at worst"
    if float(trained.errors(prior, trained.batch.actions).mean()) < limit:
        remedy = (
            ": the behavior model has learnt its rows by heart; take fewer behavior.steps, a "
            "smaller behavior.width, more behavior.dropout or more data"
        )
    else:
        remedy = (
            ": the behavior model fits worse than a Gaussian; take more behavior.steps, and leave "
            "normalize_observations on"
        )
    return Finding.of(BehaviorStage.name, measured, limit, numbers, remedy)
