"""Between pictures and the latents that a prior knows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self, override

from scoreregs.arguments import check_floating, named_calls
from scoreregs.errors import ArgumentError
from scoreregs_diffusers.calls import inner_model
from scoreregs_diffusers.pipelines import load_model

__all__ = ["LatentCodec"]

# Where an autoencoder's output has the latents; of a distribution the mean.
_LATENTS: dict[str, Callable[[Any], Tensor]] = {
    "AutoencoderKL": lambda output: output.latent_dist.mean,
    "AutoencoderKLWan": lambda output: output.latent_dist.mean,
    "AutoencoderKLQwenImage": lambda output: output.latent_dist.mean,
    "AutoencoderTiny": lambda output: output.latents,
    "AutoencoderDC": lambda output: output.latent,
}
_VIDEOS = {"AutoencoderKLWan", "AutoencoderKLQwenImage"}
# Images that are optimised leave [-1, 1], but not so far.
_FAR = 20.0
# What their pipelines do between autoencoder and model that is no scale and shift of channels.
_REFUSED = {
    "AutoencoderKLFlux2": "its pipelines normalise patches of latents by its batch norm",
    "AutoencoderKLCogVideoX": "its pipelines put the frames of latents before their channels",
    "AutoencoderKLLTXVideo": "its pipelines pack latents, by statistics that are its buffers",
    "ConsistencyDecoderVAE": "it decodes by sampling",
    "VQModel": "its latents are the nearest entries of a codebook",
}


@named_calls
class LatentCodec:
    r"""Pictures as latents and back, with the scale that a latent prior was trained with.

    $$ z = s\, \big( \mathrm{E}[\mathrm{encoder}(x)] - m \big), \qquad
       x = \mathrm{decoder}(z / s + m) $$

    Both directions pass gradients, so a value of pixels and a prior of latents meet either way:

        objective(codec.encode(x)).loss  # x is pixels: the gradient goes through the encoder
        value = lambda z, c: reward(codec.decode(z))  # x is latents

    and where x and the value are pixels, the regulariser stands alone beside it:

        loss = distillation(codec.encode(x)).loss - reward(x).mean()  # distillation has no value

    An autoencoder with `force_upcast` in its configuration, as SDXL's, overflows in float16: it is
    computed with its weights in float32, as its pipelines do, and left as it is.

    Args:
        vae: an `AutoencoderKL`, `AutoencoderTiny`, `AutoencoderDC`, `AutoencoderKLWan` or
            `AutoencoderKLQwenImage`, in the mode and with the `requires_grad` that it has.

    Raises:
        ArgumentError: for another kind of autoencoder.

    Example:
        >>> from diffusers import AutoencoderKL
        >>> codec = LatentCodec(AutoencoderKL(norm_num_groups=4, block_out_channels=(8,)))
        >>> latents = codec.encode(torch.zeros(1, 3, 16, 16))
        >>> latents.shape, codec.decode(latents).shape
        (torch.Size([1, 4, 16, 16]), torch.Size([1, 3, 16, 16]))
    """

    def __init__(self, vae: nn.Module) -> None:
        self._vae: Any = inner_model(vae) if isinstance(vae, nn.Module) else vae
        kinds = [base.__name__ for base in type(self._vae).__mro__]
        kind = next((name for name in kinds if name in _LATENTS), None)
        if kind is None:
            reason = _REFUSED.get(kinds[0])
            raise ArgumentError(
                f"got a vae of type {kinds[0]}{f' ({reason})' if reason else ''}, expected one of "
                f"{', '.join(_LATENTS)}: for another, encode x yourself and call the objective "
                "with its latents"
            )
        self._latents = _LATENTS[kind]
        self._dimensions = 5 if kind in _VIDEOS else 4
        config = self._vae.config
        self._channels = _channels(config)
        # One, or one for each channel.
        self._factor = torch.tensor([config.get("scaling_factor") or 1.0], dtype=torch.float64)
        self._offset = torch.tensor([config.get("shift_factor") or 0.0], dtype=torch.float64)
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is not None and std is not None:
            self._factor = self._factor / torch.tensor(std, dtype=torch.float64)
            self._offset = torch.tensor(mean, dtype=torch.float64)
        if not {len(self._factor), len(self._offset)} <= {1, self._channels[1]}:
            raise ArgumentError(
                f"got latents_mean of {len(self._offset)} and latents_std of {len(self._factor)} "
                f"numbers in the configuration of {kind}, expected one for each of its "
                f"{self._channels[1]} channels"
            )
        self._range_checked = False

    @override
    def __repr__(self) -> str:
        return f"LatentCodec(vae={type(self._vae).__name__}(...))"

    @classmethod
    @named_calls
    def from_pretrained(
        cls,
        path: str | Path,
        torch_dtype: torch.dtype | None = None,
        variant: str | None = None,
    ) -> Self:
        """Returns the codec of a pipeline's `vae`, from safetensors.

        Args:
            path: a pipeline's folder, or its name on the Hub.
            torch_dtype: of the weights; float32 by default, whatever they are saved in.
            variant: of the weights' files: "fp16" reads `*.fp16.safetensors`.

        Raises:
            ArgumentError: where there is no such pipeline or vae.
            MissingDependencyError: without diffusers (extra `diffusers`).
        """
        return cls(load_model(path, "vae", torch_dtype, variant))

    @named_calls
    def encode(self, images: Tensor) -> Tensor:
        """Returns the latents of images, in the images' dtype and with their gradient.

        Args:
            images: (batch, channels, height, width), in [-1, 1]; of video autoencoders, which
                those of Wan and Qwen-Image are, (batch, channels, frames, height, width).

        Raises:
            ArgumentError: for images of another type or shape, and at the first call for bytes.
        """
        self._check("images", images, self._channels[0])
        if not self._range_checked:
            _check_range(images)
            self._range_checked = True
        mean = self._run(_Encode, images).to(images.dtype)
        return (mean - _of_channels(self._offset, mean)) * _of_channels(self._factor, mean)

    @named_calls
    def decode(self, latents: Tensor) -> Tensor:
        """Returns the images of latents, in the latents' dtype and with their gradient.

        Args:
            latents: as `encode` returns them.

        Raises:
            ArgumentError: for latents of another type or shape.
        """
        self._check("latents", latents, self._channels[1])
        scaled = latents / _of_channels(self._factor, latents)
        scaled = scaled + _of_channels(self._offset, latents)
        return self._run(_Decode, scaled).to(latents.dtype)

    def _check(self, name: str, x: Tensor, channels: int) -> None:
        check_floating(name, x)
        if x.ndim != self._dimensions or x.shape[1] != channels:
            frames = "frames, " if self._dimensions == 5 else ""
            raise ArgumentError(
                f"got {name} of shape {tuple(x.shape)} for {type(self._vae).__name__}, expected "
                f"(batch, {channels}, {frames}height, width)"
            )

    def _run(self, half: "type[_Encode] | type[_Decode]", x: Tensor) -> Tensor:
        module = half(self._vae, self._latents)
        if self._vae.dtype != torch.float16 or not self._vae.config.get("force_upcast", False):
            return module(x.to(self._vae.dtype))
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        upcast = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        return torch.func.functional_call(module, upcast, (x.float(),))


def _channels(config: Any) -> tuple[int, int]:
    """Returns the channels of an autoencoder's images and of its latents."""
    images = config.get("in_channels", config.get("input_channels"))
    # Some take patches of pixels as channels, which they make themselves.
    return images // (config.get("patch_size") or 1) ** 2, config.get(
        "latent_channels", config.get("z_dim")
    )


def _check_range(images: Tensor) -> None:
    """Raises `ArgumentError` for images of bytes (waits for the device)."""
    low, high = images.detach().aminmax()
    if max(-low.item(), high.item()) > _FAR:
        raise ArgumentError(
            f"got images from {low.item():.3g} to {high.item():.3g}, expected them in [-1, 1]: use "
            "images / 127.5 - 1 for bytes"
        )


def _of_channels(values: Tensor, like: Tensor) -> Tensor:
    """Returns one number, or one for each channel, shaped to multiply a (batch, channels, ...)."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 2))


class _Encode(nn.Module):
    """Half of an autoencoder as a module, for `functional_call`."""

    def __init__(self, vae: Any, latents: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.vae = vae
        self.latents = latents

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.latents(self.vae.encode(images))


class _Decode(_Encode):
    """The other half."""

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.vae.decode(images).sample
