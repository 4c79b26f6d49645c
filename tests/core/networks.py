"""Networks that return the exact target of a prediction type, for a mixture under VP-linear.

The conversions are written out from the formulas, in numpy's terms, not with the library's.
"""

import torch
from torch import Tensor, nn

from scoreregs import GaussianMixturePrior, VPSchedule
from tests.core.ground_truth import BETA_MAX, BETA_MIN

PREDICTIONS = ("epsilon", "sample", "v_prediction", "score", "flow_prediction")


def target(prediction: str, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What a network of a prediction type is trained to return under VP-linear, for (b,) times."""
    t = t.double().reshape(-1, *[1] * (x.ndim - 1))
    alpha = torch.exp(-(t**2) * (BETA_MAX - BETA_MIN) / 4 - t * BETA_MIN / 2)
    sigma = torch.sqrt(1 - alpha**2)
    rate = (BETA_MIN + (BETA_MAX - BETA_MIN) * t) / 2
    return {
        "epsilon": noise,
        "sample": x,
        "v_prediction": alpha * noise - sigma * x,
        "score": -noise / sigma,
        "flow_prediction": -rate * alpha * x + rate * alpha**2 / sigma * noise,
    }[prediction]


class ExactNetwork(nn.Module):
    """The posterior mean of a prediction type's target, as a mixture's closed form gives it.

    Its dropout would spoil the prediction in training mode; its parameter gives it a dtype.
    """

    def __init__(
        self, mixture: GaussianMixturePrior, prediction: str, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.mixture, self.prediction = mixture, prediction
        self.scale = nn.Parameter(torch.ones((), dtype=dtype))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        assert x_t.dtype == self.scale.dtype
        assert t.dtype == torch.promote_types(self.scale.dtype, torch.float32)
        score = self.mixture.predict(x_t.double(), t, condition)
        alpha, sigma = (s.reshape(-1, *[1] * (x_t.ndim - 1)) for s in VPSchedule()(t.double()))
        noise = -sigma * score
        x = (x_t.double() - sigma * noise) / alpha
        output = target(self.prediction, x, noise, t)
        return self.dropout(self.scale * output.to(self.scale.dtype))


class TimedNetwork(nn.Module):
    """A small trainable network of x_t, t and an optional condition."""

    def __init__(self, dimension: int, conditions: int = 0, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dimension + conditions + 3, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, dimension),
        )

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        features = [x_t, t[:, None], torch.cos(3 * t)[:, None], torch.sin(3 * t)[:, None]]
        if condition is not None:
            features.append(condition)
        return self.layers(torch.cat(features, dim=1))
