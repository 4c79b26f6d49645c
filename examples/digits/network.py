"""A small class-conditional U-Net of diffusers: fit to digits and saved as a pipeline."""

from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from examples.digits.data import CLASSES, NULL, Digits
from scoreregs import fit_prior
from scoreregs_diffusers import read_scheduler


class _ByLabel(nn.Module):
    """The U-Net as a function of (x_t, timestep, label), which `fit_prior` trains."""

    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x_t: Tensor, timestep: Tensor, label: Tensor) -> Tensor:
        """Returns the prediction, of x_t's shape."""
        return self.unet(x_t, timestep, class_labels=label, return_dict=False)[0]


def make_unet(channels: tuple[int, ...], seed: int) -> UNet2DModel:
    """Returns an untrained U-Net of one level for each number of channels."""
    torch.manual_seed(seed)
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        layers_per_block=1,
        norm_num_groups=8,
        num_class_embeds=CLASSES + 1,
    )


def train_pipeline(
    train: Digits,
    folder: Path,
    *,
    channels: tuple[int, ...] = (32, 64),
    steps: int = 4000,
    batch_size: int = 128,
    seed: int = 0,
) -> UNet2DModel:
    """Fits a U-Net to digits, saves it with its scheduler as a pipeline, and returns it."""
    unet = make_unet(channels, seed)
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    reading = read_scheduler(scheduler)

    def report(step: int, loss: Tensor) -> None:
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} of {steps}: loss {loss.item():.2f}", flush=True)

    # Every digit twice, once under the null label: guidance needs both predictions.
    nulls = torch.full_like(train.labels, NULL)
    fit_prior(
        _ByLabel(unet),
        torch.cat([train.images, train.images]),
        reading.schedule,
        condition=torch.cat([train.labels, nulls]),
        prediction=reading.prediction,
        time_map=reading.time_map,
        steps=steps,
        batch_size=batch_size,
        learning_rate=2e-3,
        generator=torch.Generator().manual_seed(seed),
        on_step=report,
    )
    DDPMPipeline(unet, scheduler).save_pretrained(folder)
    return unet
