r"""What a diffusers scheduler says about its network: schedule, prediction, time and input.

Schedulers sample; of one only the training distribution is of use here. It is read once, from its
configuration and its table of cumulative alphas, neither of which `set_timesteps` changes:

| Scheduler | Schedule | Prediction |
|---|---|---|
| DDPM, DDIM, PNDM, DPM-Solver, DEIS, UniPC, SA, CogVideoX | table | its own |
| Euler, Heun, KDPM2, LMS | table | its own |
| those with `use_flow_sigmas` | rectified flow | its own |
| FlowMatch Euler, Heun | rectified flow | `flow_prediction`; negated with `invert_sigmas` |
| EDM Euler, EDM DPM-Solver | EDM, or VE where `sigma_schedule="exponential"` | +F or -F |
| Euler with `timestep_type="continuous"` and `v_prediction` | VE | -F with unit data |

The Euler family diffuses to x + s epsilon and divides by $\sqrt{1 + s^2}$ before the network: that
is x_t of the table. EDM schedulers call the preconditioned network's F `epsilon` and -F
`v_prediction`. Schedulers of consistency models are refused: those have no score.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scoreregs.arguments import named_calls
from scoreregs.errors import ArgumentError
from scoreregs.predictions import PredictionLike
from scoreregs.priors.edm import Preconditioned
from scoreregs.reprs import Constructed
from scoreregs.schedules import (
    EDMSchedule,
    NoiseSchedule,
    RectifiedFlowSchedule,
    TabulatedSchedule,
    VESchedule,
)
from scoreregs.schedules.tabulated import Interpolation
from scoreregs_diffusers.families import Family

__all__ = ["NetworkReading", "fitted", "read_scheduler"]

_TABLES = {
    "CogVideoXDDIMScheduler",
    "CogVideoXDPMScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
}
_FLOWS = {"FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"}
_CONSISTENCY = {
    "CMStochasticIterativeScheduler",
    "FlowMapEulerDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "LCMScheduler",
    "SCMScheduler",
    "TCDScheduler",
}
_EDMS = {"EDMDPMSolverMultistepScheduler", "EDMEulerScheduler"}
_PREDICTIONS: dict[str, PredictionLike] = {
    "epsilon": "epsilon",
    "sample": "sample",
    "original_sample": "sample",
    "v_prediction": "v_prediction",
}


@named_calls
@dataclass(frozen=True, repr=False)
class NetworkReading(Constructed):
    """How a network that belongs to a scheduler is called, and what it returns.

    Attributes:
        schedule: the noise schedule of x_t.
        prediction: what the network returns; `Preconditioned` is EDM's F.
        time_map: maps t in [0, 1] to the network's timestep; None for EDM's c_noise.
        sign: 1, or -1 where the network returns minus the prediction.
    """

    schedule: NoiseSchedule
    prediction: PredictionLike
    time_map: Callable[[Tensor], Tensor] | None
    sign: float = 1.0

    def timestep(self, t: Tensor) -> Tensor:
        """Returns the network's timestep at t, (batch,)."""
        if self.time_map is not None:
            return self.time_map(t)
        # c_noise, a quarter of the log of sigma / alpha, finite where that is 0 or infinite.
        return -self.schedule.at(t).log_snr.clamp(-27.63, 27.63) / 8


@named_calls
def read_scheduler(scheduler: Any, interpolation: Interpolation = "nearest") -> NetworkReading:
    """Returns what a scheduler says about its network.

    Args:
        scheduler: a diffusers scheduler, before or after `set_timesteps`.
        interpolation: of a table: "nearest" calls the network at its training steps only,
            "log_snr" between them too.

    Raises:
        ArgumentError: for an unsupported scheduler or prediction type, and for a table in half
            precision or that is not monotone.

    Example:
        >>> from diffusers import FlowMatchEulerDiscreteScheduler
        >>> reading = read_scheduler(FlowMatchEulerDiscreteScheduler(shift=3.0))
        >>> type(reading.schedule).__name__, reading.prediction
        ('RectifiedFlowSchedule', 'flow_prediction')
    """
    names = {base.__name__ for base in type(scheduler).__mro__}
    if names & _CONSISTENCY:
        raise ArgumentError(
            f"got a {type(scheduler).__name__}, the scheduler of consistency models, expected one "
            "of a diffusion model: a consistency model maps x_t to a sample of the data, not to "
            "the mean of all that fit, so there is no score in it; for the model that it was "
            "distilled from give that one's scheduler, for instance "
            "DDPMScheduler.from_config(scheduler.config)"
        )
    if names & _FLOWS:
        return _flow_matching(scheduler)
    if names & _EDMS:
        return _edm(scheduler)
    if names & _TABLES:
        config = scheduler.config
        if config.get("use_flow_sigmas", False):
            return _flow_sigmas(scheduler)
        continuous = config.get("timestep_type", "discrete") == "continuous"
        if continuous and config.prediction_type == "v_prediction":
            return _continuous_v(scheduler)
        return _table(scheduler, interpolation)
    raise ArgumentError(
        f"got a scheduler of type {type(scheduler).__name__}, expected one of "
        f"{', '.join(sorted(_TABLES | _FLOWS | _EDMS))}: for another, write "
        "scoreregs.NetworkPrior(network, schedule, prediction, time_map)"
    )


def fitted(
    reading: NetworkReading, scheduler: Any, family: Family, image_tokens: int | None
) -> NetworkReading:
    """Returns a reading as the pipelines of a family have it.

    Args:
        reading: what the scheduler says.
        scheduler: the scheduler.
        family: of the model.
        image_tokens: by which a dynamic shift is chosen, or None for none.

    Raises:
        ArgumentError: for a scheduler that is none of the family's, and for tokens that it does
            not use, or cannot do without.
    """
    if family.flow and reading.prediction != "flow_prediction":
        raise ArgumentError(
            f"got a {type(scheduler).__name__} for {family.name}, expected a scheduler of flow "
            "matching, as FlowMatchEulerDiscreteScheduler: its pipelines have one"
        )
    dynamic = scheduler.config.get("use_dynamic_shifting", False)
    if image_tokens is not None and (not dynamic or family.shift is None):
        raise ArgumentError(
            f"got image_tokens={image_tokens} for {family.name} with a "
            f"{type(scheduler).__name__}, expected None: the shift of its schedule does not "
            "depend on the picture's size alone"
        )
    if family.unshifted_time and dynamic and image_tokens is None:
        raise ArgumentError(
            f"got a dynamic shift for {family.name}, whose time is the one before the shift, "
            "expected image_tokens=, the number of patches of a picture"
        )
    schedule = reading.schedule
    if image_tokens is not None and family.shift is not None:
        mu = family.shift(image_tokens, scheduler.config)
        linear = scheduler.config.get("time_shift_type") == "linear"
        schedule = RectifiedFlowSchedule(mu if linear else math.exp(mu))
    steps = scheduler.config.num_train_timesteps
    if family.unshifted_time:
        return replace(reading, schedule=schedule, time_map=lambda t: t * steps)
    if schedule is reading.schedule:
        return reading
    return replace(reading, schedule=schedule, time_map=lambda t: schedule(t)[1] * steps)


def _table(scheduler: Any, interpolation: Interpolation) -> NetworkReading:
    prediction = _prediction(scheduler, _PREDICTIONS)
    table = scheduler.alphas_cumprod
    if scheduler.config.get("rescale_betas_zero_snr", False):
        # Some schedulers replace the last entry, zero, by one that their solver can divide by.
        table = torch.cat([table[:-1], torch.zeros_like(table[-1:])])
    schedule = TabulatedSchedule.from_alphas_cumprod(table, interpolation)
    if interpolation == "nearest":
        return NetworkReading(schedule, prediction, schedule.step)
    return NetworkReading(schedule, prediction, lambda t: t * schedule.steps - 1)


def _flow_matching(scheduler: Any) -> NetworkReading:
    # Where there is a `set_shift`, the attribute is newer than the configuration.
    owner = scheduler if hasattr(scheduler, "set_shift") else scheduler.config
    reading = _flow(scheduler, owner.shift, "flow_prediction")
    if not scheduler.config.get("invert_sigmas", False):
        return reading
    # The network's time is 1 at the data, and its velocity is that in this time.
    steps = scheduler.config.num_train_timesteps
    schedule = reading.schedule
    return NetworkReading(schedule, reading.prediction, lambda t: schedule(t)[0] * steps, -1.0)


def _flow_sigmas(scheduler: Any) -> NetworkReading:
    known: dict[str, PredictionLike] = {
        "flow_prediction": "flow_prediction",
        "epsilon": "epsilon",
        "sample": "sample",
    }
    return _flow(scheduler, scheduler.config.flow_shift, _prediction(scheduler, known))


def _flow(scheduler: Any, shift: float, prediction: PredictionLike) -> NetworkReading:
    # A dynamic shift depends on the picture and is chosen when sampling: t is sigma without it.
    dynamic = scheduler.config.get("use_dynamic_shifting", False)
    schedule = RectifiedFlowSchedule(1.0 if dynamic else float(shift))
    steps = scheduler.config.num_train_timesteps
    return NetworkReading(schedule, prediction, lambda t: schedule(t)[1] * steps)


def _edm(scheduler: Any) -> NetworkReading:
    config = scheduler.config
    signs = {"epsilon": 1.0, "v_prediction": -1.0}
    sign = _choice("prediction_type", config.prediction_type, signs, scheduler)
    if config.sigma_schedule == "exponential":
        schedule = VESchedule(config.sigma_min, config.sigma_max)
    else:
        schedule = EDMSchedule(config.sigma_min, config.sigma_max, config.rho)
    return NetworkReading(schedule, Preconditioned(config.sigma_data), None, sign)


def _continuous_v(scheduler: Any) -> NetworkReading:
    config = scheduler.config
    snr = scheduler.alphas_cumprod.double() / (1 - scheduler.alphas_cumprod.double())
    low = config.sigma_min or snr[0].rsqrt().item()
    high = config.sigma_max or snr[-1].rsqrt().item()
    return NetworkReading(VESchedule(low, high), Preconditioned(1.0), None, -1.0)


def _prediction(scheduler: Any, known: dict[str, PredictionLike]) -> PredictionLike:
    return _choice("prediction_type", scheduler.config.prediction_type, known, scheduler)


def _choice(name: str, got: str, known: dict[str, Any], scheduler: Any) -> Any:
    if got not in known:
        raise ArgumentError(
            f"got {name}={got!r} from {type(scheduler).__name__}, expected one of "
            f"{', '.join(map(repr, known))}: correct the scheduler's configuration, or use "
            "scoreregs.NetworkPrior"
        )
    return known[got]
