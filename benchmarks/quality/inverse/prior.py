"""The flow model of digits that both libraries restore images with."""

from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import override

from scoreregs import NetworkPrior, RectifiedFlowSchedule, ScorePrior, fit_prior
from scoreregs_offline_rl.files import load_tensors_like, save_tensors

__all__ = ["FlowNetwork", "denoise_unit", "flow_prior", "trained"]


class FlowNetwork(nn.Module):
    """A residual perceptron of 8 x 8 images and the time, which predicts the velocity.

    Attributes:
        rows: how many images it was evaluated at.
    """

    def __init__(self, width: int, blocks: int = 3) -> None:
        super().__init__()
        self.rows = 0
        self.times = nn.Sequential(nn.Linear(9, width), nn.SiLU())
        self.first = nn.Linear(64, width)
        self.scales = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(blocks))
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(0.1))
            for _ in range(blocks)
        )
        self.last = nn.Linear(width, 64)

    @override
    def forward(self, x_t: Tensor, t: Tensor, condition: None = None) -> Tensor:
        self.rows += len(x_t)
        angles = t[:, None] * torch.tensor([1.0, 3.0, 9.0, 27.0])
        embedding = self.times(torch.cat([t[:, None], angles.sin(), angles.cos()], dim=1))
        flat = x_t.flatten(1)
        hidden = self.first(flat)
        for scales, block in zip(self.scales, self.hidden, strict=True):
            scale, shift = scales(embedding).chunk(2, dim=1)
            hidden = hidden + block(hidden * (1 + scale) + shift)
        return self.last(hidden).reshape(x_t.shape)


def flow_prior(network: FlowNetwork) -> NetworkPrior:
    """Returns the network as a prior of images in [-1, 1]."""
    return NetworkPrior(network, RectifiedFlowSchedule(), "flow_prediction")


def trained(images: Tensor, path: Path, *, width: int, steps: int, seed: int) -> FlowNetwork:
    """Returns the network of images in [-1, 1], read from a file, or trained and kept there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FlowNetwork(width)
        if path.exists():
            remedy = f"delete {path} to train it again"
            network.load_state_dict(load_tensors_like(path, network.state_dict(), remedy=remedy))
            return network.eval()
        # Dropout draws from the global generator.
        fit_prior(
            network,
            images,
            RectifiedFlowSchedule(),
            prediction="flow_prediction",
            times=(1e-3, 1.0),
            steps=steps,
            generator=torch.Generator().manual_seed(seed),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, network.state_dict())
    return network.eval()


def denoise_unit(prior: ScorePrior, x: Tensor, sigma: Tensor) -> Tensor:
    r"""Returns the posterior mean of images in [0, 1] from $x = \mathrm{image} + \sigma \epsilon$.

    In [-1, 1] the noise is twice as large, and rectified flow has it at
    $t = 2 \sigma / (1 + 2 \sigma)$, of $x_t = (1 - t) (2 x - 1)$. Gradients pass, as DPS wants.

    Args:
        prior: on rectified flow, of images in [-1, 1].
        x: images, (batch, 1, 8, 8).
        sigma: of each, (batch,); at 0 that of the network's cleanest time is taken.
    """
    t = 2 * sigma.double() / (1 + 2 * sigma.double())
    level = prior.schedule.at(t.clamp(min=1e-3))
    x_t = level.alpha.to(x.dtype)[:, None, None, None] * (2 * x - 1)
    output = prior.predict(x_t, level.t)
    return (prior.prediction.sample(output, x_t, level, prior.schedule) + 1) / 2
