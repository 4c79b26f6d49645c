r"""What a diffusion network predicts, and the score residual in the form native to each.

For a sample $x_t = \alpha x + \sigma \epsilon$ a network is trained to return one of

| name | target |
|---|---|
| `epsilon` | $\epsilon$ |
| `sample` | $x$ |
| `v_prediction` | $(\alpha \epsilon - \sigma x) / \sqrt{\alpha^2 + \sigma^2}$ |
| `score` | $-\epsilon / \sigma$, the score of the kernel |
| `flow_prediction` | $\alpha' x + \sigma' \epsilon$, the schedule's `velocity` |

Each is linear in $(x, \epsilon)$, so the residual of Eq. 15 is a positive factor of the noise level
times a difference in the network's own terms, $\hat\epsilon - \epsilon = c(t)\, \Delta$. Factor and
difference are kept apart: the factor is multiplied with the weight before either is rounded, and
the difference never cancels two large numbers.

References:
    Kingma et al., Variational Diffusion Models, 2021; Salimans and Ho, Progressive Distillation for
    Fast Sampling of Diffusion Models, 2022 (v); Lipman et al., Flow Matching for Generative
    Modeling, 2023. On VP the square root in v is 1; on VE it is what k-diffusion divides by.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from scoreregs.arguments import named_calls, nearest
from scoreregs.errors import ArgumentError
from scoreregs.schedules import NoiseLevel, NoiseSchedule

__all__ = [
    "Epsilon",
    "Flow",
    "Prediction",
    "PredictionLike",
    "PredictionName",
    "Sample",
    "Score",
    "Velocity",
    "as_prediction",
    "cast",
    "expand",
]

PredictionName = Literal["epsilon", "sample", "v_prediction", "score", "flow_prediction"]


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns a tensor in a dtype, itself where it has that: `to` takes longer to find out."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def expand(coefficient: Tensor, like: Tensor) -> Tensor:
    """Returns a coefficient in `like`'s dtype, shaped to multiply a tensor of more axes.

    (batch,) meets (batch, *event), and (members, batch) of stacked priors (members, batch, *event).
    """
    if coefficient.dtype != like.dtype:
        coefficient = coefficient.to(like.dtype)
    missing = like.ndim - coefficient.ndim
    if missing == 1:
        return coefficient.unsqueeze(-1)
    return coefficient.reshape(*coefficient.shape, *[1] * missing)


class Prediction(ABC):
    """A prediction type: what the network's output means.

    Every method takes the schedule and the noise level, with (batch,) tensors, and tensors of
    shape (batch, *event).
    """

    name: ClassVar[str]
    # Whether c(t) = 1 at every time, so that nothing needs to be multiplied with it.
    has_unit_factor: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # A factor of its own is not one, whatever the class that it derives from says.
        if "log_factor" in vars(cls) and "has_unit_factor" not in vars(cls):
            cls.has_unit_factor = False

    @override
    def __repr__(self) -> str:
        return repr(self.name)

    @abstractmethod
    def difference(
        self, output: Tensor, x: Tensor, noise: Tensor, level: NoiseLevel, schedule: NoiseSchedule
    ) -> Tensor:
        """Returns the output minus its target, up to a sign and a bounded scale.

        Its square, summed over the event, is the denoising score matching loss.
        """

    @abstractmethod
    def log_factor(self, level: NoiseLevel, schedule: NoiseSchedule) -> Tensor:
        """Returns log c(t), (batch,), with epsilon_hat - epsilon = c(t) * difference."""

    @abstractmethod
    def epsilon(
        self, output: Tensor, x_t: Tensor, level: NoiseLevel, schedule: NoiseSchedule
    ) -> Tensor:
        """Returns the predicted noise."""

    @abstractmethod
    def sample(
        self, output: Tensor, x_t: Tensor, level: NoiseLevel, schedule: NoiseSchedule
    ) -> Tensor:
        """Returns the predicted data, the posterior mean of x given x_t."""

    def score(
        self, output: Tensor, x_t: Tensor, level: NoiseLevel, schedule: NoiseSchedule
    ) -> Tensor:
        """Returns the predicted score of the diffused density, -epsilon_hat / sigma."""
        return -self.epsilon(output, x_t, level, schedule) / expand(level.sigma, x_t)


@named_calls
class Epsilon(Prediction):
    """The network returns the noise."""

    name = "epsilon"
    has_unit_factor = True

    @override
    def difference(self, output, x, noise, level, schedule):
        return output - noise

    @override
    def log_factor(self, level, schedule):
        return torch.zeros_like(level.log_snr)

    @override
    def epsilon(self, output, x_t, level, schedule):
        return output

    @override
    def sample(self, output, x_t, level, schedule):
        return (x_t - expand(level.sigma, x_t) * output) / expand(level.alpha, x_t)


@named_calls
class Sample(Prediction):
    """The network returns the data."""

    name = "sample"

    @override
    def difference(self, output, x, noise, level, schedule):
        return x - output

    @override
    def log_factor(self, level, schedule):
        return level.bounded_log_snr / 2

    @override
    def epsilon(self, output, x_t, level, schedule):
        return (x_t - expand(level.alpha, x_t) * output) / expand(level.sigma, x_t)

    @override
    def sample(self, output, x_t, level, schedule):
        return output


@named_calls
class Velocity(Prediction):
    """The network returns v, the derivative of x_t along the angle arctan(sigma / alpha)."""

    name = "v_prediction"

    def _cosine_sine(self, level: NoiseLevel, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        norm = torch.hypot(level.alpha, level.sigma)
        return (
            expand(level.alpha / norm, like),
            expand(level.sigma / norm, like),
            expand(norm, like),
        )

    @override
    def difference(self, output, x, noise, level, schedule):
        cosine, sine, _ = self._cosine_sine(level, output)
        return output - (cosine * noise - sine * x)

    @override
    def log_factor(self, level, schedule):
        return torch.log(level.alpha) - torch.log(torch.hypot(level.alpha, level.sigma))

    @override
    def epsilon(self, output, x_t, level, schedule):
        cosine, sine, norm = self._cosine_sine(level, x_t)
        return cosine * output + sine * (x_t / norm)

    @override
    def sample(self, output, x_t, level, schedule):
        cosine, sine, norm = self._cosine_sine(level, x_t)
        return cosine * (x_t / norm) - sine * output


@named_calls
class Score(Prediction):
    """The network returns the score of the diffused density; its loss is weighted by sigma^2."""

    name = "score"
    has_unit_factor = True

    @override
    def difference(self, output, x, noise, level, schedule):
        return -expand(level.sigma, output) * output - noise

    @override
    def log_factor(self, level, schedule):
        return torch.zeros_like(level.log_snr)

    @override
    def epsilon(self, output, x_t, level, schedule):
        return -expand(level.sigma, output) * output

    @override
    def sample(self, output, x_t, level, schedule):
        return (x_t + expand(level.sigma.square(), x_t) * output) / expand(level.alpha, x_t)

    @override
    def score(self, output, x_t, level, schedule):
        return output


@named_calls
class Flow(Prediction):
    """The network returns the velocity of x_t in t: epsilon - x for alpha = 1 - t, sigma = t."""

    name = "flow_prediction"

    @override
    def difference(self, output, x, noise, level, schedule):
        d_alpha, d_sigma = schedule.velocity(level.t)
        return output - (expand(d_alpha, x) * x + expand(d_sigma, x) * noise)

    @override
    def log_factor(self, level, schedule):
        d_alpha, d_sigma = schedule.velocity(level.t)
        rotation = level.alpha * d_sigma - d_alpha * level.sigma
        return torch.log(level.alpha) - torch.log(rotation)

    @override
    def epsilon(self, output, x_t, level, schedule):
        d_alpha, d_sigma = schedule.velocity(level.t)
        rotation = level.alpha * d_sigma - d_alpha * level.sigma
        return expand(level.alpha / rotation, x_t) * output - expand(d_alpha / rotation, x_t) * x_t

    @override
    def sample(self, output, x_t, level, schedule):
        d_alpha, d_sigma = schedule.velocity(level.t)
        rotation = level.alpha * d_sigma - d_alpha * level.sigma
        return expand(d_sigma / rotation, x_t) * x_t - expand(level.sigma / rotation, x_t) * output


PREDICTIONS: dict[str, Prediction] = {
    prediction.name: prediction for prediction in (Epsilon(), Sample(), Velocity(), Score(), Flow())
}

PredictionLike = PredictionName | Prediction

# What others call them.
_OTHER_NAMES = {
    **dict.fromkeys(("x0", "x_0", "x_start", "xstart", "start_x", "pred_x0", "data"), "sample"),
    **dict.fromkeys(("denoised", "clean", "original"), "sample"),
    **dict.fromkeys(("eps", "noise", "pred_noise", "e"), "epsilon"),
    **dict.fromkeys(("v", "pred_v"), "v_prediction"),
    **dict.fromkeys(("flow", "flow_matching", "rectified_flow", "u"), "flow_prediction"),
}


@named_calls
def as_prediction(prediction: PredictionLike) -> Prediction:
    """Returns the prediction type of a name, or a `Prediction` itself.

    Raises:
        ArgumentError: for an unknown name.

    Example:
        >>> as_prediction("v_prediction").name
        'v_prediction'
    """
    if isinstance(prediction, Prediction):
        return prediction
    if isinstance(prediction, str) and prediction in PREDICTIONS:
        return PREDICTIONS[prediction]
    known = _OTHER_NAMES.get(prediction) if isinstance(prediction, str) else None
    hint = f"; it is called {known!r} here" if known else nearest(prediction, PREDICTIONS)
    if prediction == "velocity":
        hint = "; of flow matching it is called 'flow_prediction' here, else 'v_prediction'"
    raise ArgumentError(
        f"got prediction={prediction!r}, expected one of {', '.join(map(repr, PREDICTIONS))}{hint}"
    )
